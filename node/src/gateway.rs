//! The host's gateway for programs that know nothing of vats ([`quorate_gateway`]), if its owner has opened one.

use crate::{
    host::Host,
    run::{RunError, io_error},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_client::{Client, Lasted, LastingCall, call_lasting};
use quorate_config::home::Home;
use quorate_consensus::{HostId, Member};
use quorate_engine::VatId;
use quorate_gateway::carry::{Carries, ForClient};
use quorate_gateway::server::{self, Connects, Rules};
use quorate_net::Purpose;
use quorate_protocol::relay::Carried;
use quorate_protocol::{evidence::LASTING_BLOCKS, sturdyref::Sturdyref};
use std::sync::Arc;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// Sessions at once. Each has a client of its own for each vat that it talks to.
const MAX_SESSIONS: usize = 1_024;

/// Makes clients that ask this host, and those that it knows, where vats are.
struct Clients(Host);

impl Clients {
    /// Who is asked about a vat.
    fn hosts(&self, vat: &VatId) -> Vec<Member> {
        let mut hosts = vec![self.0.as_member()];
        hosts.extend(self.0.directory().members(vat));
        hosts
    }
}

impl Connects for Clients {
    fn connect(&self, sturdyref: Sturdyref) -> BoxFuture<'static, Result<Client, String>> {
        let hosts = self.hosts(&sturdyref.vat);
        Box::pin(async move {
            let client = Client::connect_for(&sturdyref, &hosts, LASTING_BLOCKS).await;
            client.map_err(|error| error.to_string())
        })
    }

    fn call(&self, mut call: LastingCall) -> BoxFuture<'static, Lasted> {
        for reference in [&call.sturdyref].into_iter().chain(&call.slots) {
            for host in self.hosts(&reference.vat) {
                if call.hosts.iter().all(|other| other.key != host.key) {
                    call.hosts.push(host);
                }
            }
        }
        Box::pin(call_lasting(call))
    }
}

impl Carries for Clients {
    fn hand(&self, from: HostId, purpose: Carried, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let purpose = match purpose {
            Carried::Slice => Purpose::Slice,
            Carried::Directory => Purpose::Directory,
        };
        let frames = self.0.frames();
        if frame.len() > purpose.max_frame_bytes() || !frames.permits(from, purpose) {
            return Box::pin(async move { Err(format!("a frame of that size, or for {purpose}, is not taken")) });
        }
        frames.handle(from, purpose, frame)
    }

    fn attach(&self, client: HostId, slices: mpsc::Sender<ForClient>) -> Box<dyn Send> {
        Box::new(self.0.carried().attach(client, slices))
    }
}

/// Begins to listen, if `host.toml` says where.
///
/// # Errors
/// It can't listen there, or not read what it keeps.
pub(crate) async fn serve(home: &Home, host: &Host) -> Result<Option<JoinHandle<()>>, RunError> {
    let Some(config) = &home.config.gateway else { return Ok(None) };
    let listener = TcpListener::bind(config.listen).await.map_err(io_error(format!(
        "the gateway at {} (`gateway` in {} says where)",
        config.listen,
        home.config_file().display()
    )))?;
    let rules = Rules {
        origins: config.origins.clone(),
        proxies: config.proxies.clone(),
        max_sessions: MAX_SESSIONS,
        folder: home.gateway(),
    };
    let clients = Arc::new(Clients(host.clone()));
    let routes = server::routes(clients.clone(), clients, rules, Arc::clone(host.gateway_stats()));
    let routes = routes.map_err(io_error(format!("{}, where calls with keys are kept", home.gateway().display())))?;
    let at = listener.local_addr().map_err(io_error("the gateway's address"))?;
    tracing::info!(host = %home.config.name, gateway = %at, "programs may connect");
    Ok(Some(tokio::spawn(server::serve(listener, routes, MAX_SESSIONS))))
}
