//! `vat console`: serves a page that shows how hosts and vats stand.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    logs, output,
    signals::Signals,
    standing::{MemberState, Quorum, quorums},
};
use futures::future::BoxFuture;
use quorate_config::init::random_bytes;
use quorate_console::admin::{LineView, Token};
use quorate_console::look::{HostState, Hosts, Look, MemberStanding, SeenHost, Standing};
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::TcpListener;

/// Where it listens unless another place is named, so that its address can be kept.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7380);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat console                         the hosts of the testnet in ./quorate-testnet\n  vat console --home HOME             the vats of one host\n  vat console --listen 127.0.0.1:0    at any free port\n  vat console --admin                 also logs, who holds which objects, and to approve what waits\n\nIt reads, and changes nothing. Everybody who is logged in on this machine can read it, too. With --admin the address has a token behind #, which is for you alone: who opens it reads what vats print, and may approve for your hosts. From another machine:\n`ssh -L 7380:127.0.0.1:7380 MACHINE`, then open http://127.0.0.1:7380 there. Ctrl-C ends it."
)]
pub struct Args {
    /// Where to listen: an address of this machine's loopback
    #[arg(long, value_name = "IP:PORT", default_value_t = LISTEN)]
    listen: SocketAddr,
    /// Let the page show logs and objects, and approve what waits, for holders of the address that is printed
    #[arg(long)]
    admin: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

/// Serves until a signal comes.
pub async fn run(args: Args, json: bool) -> Outcome {
    if !args.listen.ip().is_loopback() {
        let message = format!(
            "--listen {}: the console listens on loopback only, since it asks nobody who they are; forward its port instead: `ssh -L {1}:127.0.0.1:{1} MACHINE`",
            args.listen,
            args.listen.port()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    // What is wrong with the places of hosts is said here, and not on a page.
    args.hosts.all().await?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        let message = format!(
            "can't listen at {}: {error}; name another port by `--listen 127.0.0.1:PORT`, or 0 for any",
            args.listen
        );
        Failure::new(Exit::Usage, message)
    })?;
    let mut signals = Signals::listen()?;
    let token = if args.admin { Some(Token::new(random_bytes()?)) } else { None };
    // Behind #, a browser tells nobody.
    let behind = token.as_ref().map(|token| format!("/#token={token}")).unwrap_or_default();
    let url = format!("http://{}{behind}", listener.local_addr()?);
    if json {
        output::json_line(&json!({ "url": url }));
    } else {
        output::line(&url);
        output::note("open it in a browser; Ctrl-C ends the console");
    }
    tokio::select! {
        () = quorate_console::server::serve(listener, Arc::new(LocalHosts(Arc::new(args.hosts))), token) => {}
        () = signals.any() => {}
    }
    Ok(Exit::Success)
}

/// The hosts that the command line means.
struct LocalHosts(Arc<HostsOption>);

impl Hosts for LocalHosts {
    fn look(&self) -> BoxFuture<'_, Result<Look, String>> {
        Box::pin(async move {
            let hosts = self.0.all().await.map_err(|failure| failure.error.to_string())?;
            let layout = self.0.testnet().and_then(|dir| dir.read().ok().flatten());
            let expected = layout.into_iter().flat_map(|layout| layout.vats).map(|place| (place.name, place.vat));
            Ok(Look {
                standings: quorums(&hosts).iter().map(standing).collect(),
                hosts: hosts.into_iter().map(seen).collect(),
                expected: expected.collect(),
            })
        })
    }

    fn logs(&self, of: String) -> BoxFuture<'_, Result<Vec<LineView>, String>> {
        let hosts = Arc::clone(&self.0);
        Box::pin(async move {
            // Files, and many of them.
            let read = tokio::task::spawn_blocking(move || logs::newest(&hosts, &of)).await;
            let lines = read.map_err(|error| error.to_string())?.map_err(|failure| failure.error.to_string())?;
            let view = |line: logs::LogLine| LineView { block: line.block, level: line.level, text: line.text };
            Ok(lines.into_iter().map(view).collect())
        })
    }
}

fn seen(host: LocalHost) -> SeenHost {
    let state = match (&host.status, &host.problem) {
        (Some(_), _) => HostState::Up,
        _ if host.hangs => HostState::Hung,
        _ if host.exported => HostState::Exported,
        (None, Some(_)) => HostState::Unusable,
        (None, None) => HostState::Down,
    };
    let home = host.home().display().to_string();
    let problem = host.problem.or_else(|| {
        let start = || {
            format!("it does not run; `vat node run --home {home}` or `vat testnet restart {}` starts it", host.name)
        };
        (state == HostState::Down).then(start)
    });
    SeenHost {
        key: host.key.map(|key| key.to_string()),
        home,
        state,
        problem,
        name: host.name,
        endpoint: host.endpoint,
        status: host.status,
    }
}

fn standing(quorum: &Quorum) -> Standing {
    use quorate_console::look::MemberState as State;
    let members = quorum.members.iter().map(|member| {
        let (state, why) = match &member.state {
            MemberState::Up => (State::Up, None),
            MemberState::Down => (State::Down, None),
            MemberState::Hung => (State::Hung, None),
            MemberState::Unusable { why } => (State::Unusable, Some(why.clone())),
            MemberState::Faulty { why } => (State::Faulty, Some(why.clone())),
            MemberState::Unseen => (State::Unseen, None),
        };
        MemberStanding { name: member.name.clone(), key: member.key.clone(), state, why }
    });
    Standing {
        vat: quorum.vat.clone(),
        needed: quorum.needed as u64,
        reachable: quorum.reachable as u64,
        can_order: quorum.can_order(),
        can_speak: quorum.can_speak(),
        complaint: quorum.complaint(),
        members: members.collect(),
    }
}
