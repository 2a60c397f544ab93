//! `vat operator`: hosts on other machines, administrated over the network between hosts.
//!
//! A folder stands for such a host: its card, and a key of the operator. Wherever a command takes a home, it takes such a folder. The host's
//! config names the operator's key. Both ends prove their keys in the handshake, so there is no token and no certificate, and no secret key of
//! the host on this machine.

use super::{Exit, Failure, Outcome, join::read_card, output};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quorate_admin::{
    client::{ApiClientError, Endpoint},
    remote::{Answered, Carrier, MAX_REMOTE_BODY_BYTES, Remote, RemoteReply, RemoteRequest},
};
use quorate_config::{
    home::{admin_socket, private::make_folder, write_secret},
    init::random_bytes,
};
use quorate_consensus::{HostId, Member};
use quorate_net::{BoxFuture, Handler, Libp2pNetwork, NetError, NetLimits, NetOptions, NetReach, Network, Purpose};
use quorate_protocol::codec;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::OnceCell;

const CARD: &str = "host.card";
const KEY: &str = "operator.key";
/// How long a host may take to answer: an upgrade takes long.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a folder that stands for a host on another machine, with a key that the host is to take
    #[command(
        after_help = "Example:\n  vat operator init remote/alpha --card alpha.card\n  vat status --home remote/alpha\n\nThe host's owner adds the key that is printed to `operators` in the host's host.toml, and starts the host again."
    )]
    Init {
        /// The folder to make
        folder: PathBuf,
        /// The host's card
        #[arg(long)]
        card: PathBuf,
        /// A folder made before, whose key is used again
        #[arg(long, value_name = "FOLDER")]
        key_of: Option<PathBuf>,
    },
}

pub fn run(command: &Command, json: bool) -> Outcome {
    let Command::Init { folder, card, key_of } = command;
    let wrong = |why: String| Failure::new(Exit::Usage, why);
    let Some(member) = read_card(card)? else {
        return Err(wrong(format!("{}: there is no card; `vat card --home HOME` makes one", card.display())));
    };
    if folder.exists() && fs::read_dir(folder)?.next().is_some() {
        return Err(wrong(format!(
            "{}: something is there already; name a folder that is not there yet",
            folder.display()
        )));
    }
    let key = match key_of {
        Some(folder) => read_key(folder).map_err(wrong)?,
        None => SigningKey::from_bytes(&random_bytes()?),
    };
    make_folder(folder)?;
    write_secret(&folder.join(KEY), &format!("{}\n", hex::encode(key.to_bytes())))?;
    fs::write(folder.join(CARD), fs::read_to_string(card)?)?;
    let operator = HostId(key.verifying_key().to_bytes()).to_string();
    if json {
        output::json(&serde_json::json!({ "folder": folder, "host": member.name, "operator": operator }));
    } else {
        output::note(format!(
            "{} stands for {}; its owner adds this key to `operators` in its host.toml, and starts it again:",
            folder.display(),
            member.name
        ));
        output::line(operator);
    }
    Ok(Exit::Success)
}

fn read_key(folder: &Path) -> Result<SigningKey, String> {
    let file = folder.join(KEY);
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut seed = [0; 32];
    let bad = |_| format!("{}: it is no operator's key; `vat operator init` makes one", file.display());
    hex::decode_to_slice(text.trim(), &mut seed).map_err(bad)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The host that a folder stands for, if it is such a folder.
pub fn host_of(folder: &Path) -> Option<Result<Member, Failure>> {
    let card = folder.join(CARD);
    let member = || Ok(read_card(&card)?.expect("it is a file"));
    card.is_file().then(member)
}

/// How the host of a home, or of a folder that stands for one, is asked. A socket that is there is closer.
pub fn endpoint(path: &Path) -> Endpoint {
    let socket = admin_socket(path);
    if socket.exists() || !path.join(CARD).is_file() {
        return Endpoint::socket(&socket);
    }
    Endpoint::Remote(Remote(Arc::new(Operator { folder: path.to_owned(), connection: Arc::default() })))
}

/// An operator, who dials a host.
struct Operator {
    folder: PathBuf,
    connection: Arc<OnceCell<(HostId, Arc<dyn Network>)>>,
}

impl Carrier for Operator {
    fn ask(&self, request: RemoteRequest) -> Answered {
        let (folder, connection) = (self.folder.clone(), self.connection.clone());
        Box::pin(async move {
            let (host, network) = connection.get_or_try_init(|| connect(&folder)).await?;
            if request.body.as_ref().is_some_and(|body| body.len() > MAX_REMOTE_BODY_BYTES) {
                let why =
                    format!("the request has over {MAX_REMOTE_BODY_BYTES} bytes; send it on the host's own machine");
                return Err(ApiClientError::Answer(why));
            }
            let frame = Bytes::from(codec::encode(&request));
            let answer = network.request(*host, Purpose::Admin, frame, DEADLINE).await;
            let refused =
                |why: String| ApiClientError::Refused { status: 403, code: "Q-A028".to_owned(), message: why };
            match answer {
                Ok(bytes) => {
                    codec::decode::<RemoteReply>(&bytes).map_err(|error| ApiClientError::Answer(error.to_string()))
                }
                Err(NetError::Forbidden { .. }) => Err(refused(format!(
                    "the host takes no requests of the operator {}; its owner adds the key to `operators` in its host.toml, and starts it again",
                    network.local()
                ))),
                Err(NetError::Refused(why)) => Err(ApiClientError::Answer(why)),
                Err(NetError::Timeout { .. }) => Err(ApiClientError::Deadline),
                Err(error) => Err(ApiClientError::NotRunning(format!("{} ({error})", folder.display()))),
            }
        })
    }
}

async fn connect(folder: &Path) -> Result<(HostId, Arc<dyn Network>), ApiClientError> {
    let wrong = |why: String| ApiClientError::Answer(why);
    let host = match host_of(folder) {
        Some(host) => host.map_err(|failure| wrong(failure.error.to_string()))?,
        None => return Err(wrong(format!("{}: there is no card any more", folder.display()))),
    };
    let secret = read_key(folder).map_err(wrong)?.to_bytes();
    let options = NetOptions {
        secret,
        listen: Vec::new(),
        reach: NetReach::default(),
        handler: Arc::new(Nobody),
        limits: NetLimits::default(),
    };
    let network: Arc<dyn Network> = Libp2pNetwork::start(options).await.map_err(|error| wrong(error.to_string()))?;
    network.set_addresses(host.key, host.addresses);
    Ok((host.key, network))
}

/// An operator serves nobody.
struct Nobody;

impl Handler for Nobody {
    fn permits(&self, _from: HostId, _purpose: Purpose) -> bool {
        false
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("an operator serves nobody".to_owned()) })
    }
}
