//! The serving side of the HTTP interface.

use crate::{
    deletion::DeletionError,
    host::{Deleted, Host, HostError},
    telemetry::page,
    vat::{
        VatService,
        access::{self, AccessOutcome},
        upgrade::{NotForeseen, UpgradeOutcome},
    },
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use quorate_admin::SocketAddress;
use quorate_admin::{
    AccessRequest, CarryRequest, DeleteReply, DeleteRequest, EvidenceReply, InstallRequest, IntroductionReply,
    ProofQuery, ProofReply, ReadQuery, RecoveryReply, RecoveryStep, UpgradeReply, UpgradeRequest,
};
use quorate_consensus::{
    Change, Hash, HostId, Member, Membership, MembershipCertificate, ProposeError, ReconfigureError, VatId,
};
use quorate_protocol::disk::DiskReport;
use quorate_protocol::{
    authority::{AccessChange, SignedInstall},
    codec,
    command::{VatCommand, VatResult},
    names::check_name,
    proof::file::{Item, ProofFile, VatProof},
    provision::{Contacts, Provision},
    status::{
        ApprovalAnswer, BlockStatus, CertificatesQuery, CertificatesStatus, ClockDifference, Done, Failed,
        MemberChange, MuteRequest, ObjectsQuery, ObjectsStatus, ReferencesStatus,
    },
    upgrade::UpgradeDraft,
    wire::{ReadReply, ReadRequest},
};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};

/// The largest request body: a bundle of the largest size, in hex, with its arguments.
const BODY_BYTES: usize = 64 << 20;
/// How long recording a membership change may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(20);
/// How long an upgrade may take: what the vat keeps is made again, and an image may have to be compiled.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(50);

/// Notes on disk that a vat is carried.
pub type Marker = dyn Fn(&str) -> std::io::Result<()> + Send + Sync;

/// Removes records and files of a vat, by its id and its name.
pub type Deleter = dyn Fn(VatId, &str) -> Result<(), DeletionError> + Send + Sync;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub host: Host,
    pub http: String,
    /// Makes the mark that a vat is carried.
    pub mark: Arc<Marker>,
    /// Deletes what the host has of a vat.
    pub delete: Arc<Deleter>,
}

type Answer<T> = Result<Json<T>, ApiError>;

/// An error as the interface tells it.
pub struct ApiError(StatusCode, Failed);

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl ToString) -> Self {
        ApiError(status, Failed { code: code.to_owned(), message: message.to_string() })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        let text = error.to_string();
        let code = text.split(' ').next().unwrap_or("Q-N000").to_owned();
        let status = match error {
            HostError::NoSuchVat(_) => StatusCode::NOT_FOUND,
            HostError::NameTaken(_)
            | HostError::Sound(_)
            | HostError::StoreDamaged { .. }
            | HostError::Forgotten(_)
            | HostError::VatLives { .. }
            | HostError::NotLost { .. }
            | HostError::NotDamaged { .. }
            | HostError::Recovery(_)
            | HostError::WasMember(_)
            | HostError::StillMember { .. }
            | HostError::Image { .. }
            | HostError::NoImage { .. }
            | HostError::FuelPrices { .. }
            | HostError::Genesis { .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError(status, Failed { code, message: text })
    }
}

/// Reading: what everyone on the machine may see.
pub fn public_routes(api: Api) -> Router {
    Router::new()
        .route("/", get(async || "quorate host: /metrics /healthz /readyz /api/v1/status\n"))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/api/v1/status", get(status))
        .with_state(api)
}

/// Everything: for the home's Unix socket.
pub fn admin_routes(api: Api) -> Router {
    let changing = Router::new()
        .route("/api/v1/vats", post(carry))
        .route("/api/v1/vats/{vat}/install", post(install))
        .route("/api/v1/vats/{vat}/members", post(change_members))
        .route("/api/v1/vats/{vat}/approvals", post(answer_change))
        .route("/api/v1/vats/{vat}/repair", post(repair))
        .route("/api/v1/vats/{vat}/delete", post(delete))
        .route("/api/v1/vats/{vat}/recovery", post(recover))
        .route("/api/v1/vats/{vat}/access", post(change_access))
        .route("/api/v1/vats/{vat}/upgrade", post(upgrade))
        .route("/api/v1/vats/{vat}/objects", get(objects))
        .route("/api/v1/vats/{vat}/references", get(references))
        .route("/api/v1/vats/{vat}/work/{account}", get(work))
        .route("/api/v1/vats/{vat}/blocks", get(blocks))
        .route("/api/v1/vats/{vat}/certificates", get(certificates))
        .route("/api/v1/vats/{vat}/introduction", get(introduction))
        .route("/api/v1/vats/{vat}/proof", get(proof))
        .route("/api/v1/vats/{vat}/read", get(read))
        .route("/api/v1/contacts", post(contacts))
        .route("/api/v1/muted", post(mute))
        .route("/api/v1/evidence", get(evidence))
        .route("/api/v1/disk", get(disk))
        .route("/api/v1/clocks", get(clocks))
        .route("/api/v1/scrub", post(scrub))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(api.clone());
    public_routes(api).merge(changing)
}

async fn disk(State(api): State<Api>) -> Answer<DiskReport> {
    let host = api.host.clone();
    let report = tokio::task::spawn_blocking(move || host.disk()).await;
    let report = report.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-N000", error))?;
    Ok(Json(report.map_err(HostError::from)?))
}

async fn clocks(State(api): State<Api>) -> Json<Vec<ClockDifference>> {
    Json(api.host.clocks().await)
}

async fn scrub(State(api): State<Api>) -> Json<Done> {
    api.host.begin_scrub();
    Json(Done::new("the host reads everything that it has on disk"))
}

async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, page::CONTENT_TYPE)], api.host.metrics().await).into_response()
}

async fn ready(State(api): State<Api>) -> Response {
    let reasons = api.host.not_ready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; "))).into_response()
}

async fn status(State(api): State<Api>) -> Json<quorate_protocol::status::HostStatus> {
    Json(api.host.status(&api.http).await)
}

fn unhex<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, ApiError> {
    let bytes = hex::decode(text)
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "Q-A001", format!("{what} is not hex")))?;
    codec::decode(&bytes).map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "Q-A001", format!("{what}: {error}")))
}

async fn carry(State(api): State<Api>, Json(request): Json<CarryRequest>) -> Answer<Done> {
    let provision: Provision = unhex("the provision", &request.provision)?;
    let contacts: Contacts = unhex("the contacts", &request.contacts)?;
    // A partner chose it, and files of this host are named after it.
    check_name(&provision.name)
        .map_err(|(problem, fix)| ApiError::new(StatusCode::BAD_REQUEST, "Q-A011", format!("{problem}; {fix}")))?;
    api.host.learn(&contacts);
    let id = provision.genesis.vat_id().to_string();
    let vat = api.host.carry(provision).await?;
    (api.mark)(&id).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-A002", error))?;
    Ok(Json(Done::new(format!("carrying {vat}"))))
}

async fn contacts(State(api): State<Api>, body: String) -> Answer<Done> {
    let contacts: Contacts = unhex("the contacts", body.trim())?;
    api.host.learn(&contacts);
    Ok(Json(Done::new(format!("{} vats noted", contacts.vats.len()))))
}

async fn install(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<InstallRequest>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    let contacts: Contacts = unhex("the contacts", &request.contacts)?;
    api.host.learn(&contacts);
    let install: SignedInstall = unhex("the install", &request.install)?;
    let result = vat.propose(&VatCommand::Install(Box::new(install))).await;
    let result = result.map_err(|error| ApiError::new(status_of(&error), "Q-A003", error))?;
    match codec::decode(&result).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-A006", error))? {
        VatResult::Installed => Ok(Json(Done::new(format!("{name} has its code")))),
        VatResult::InstallFailed { message } => {
            let message = format!("the code of {name} did not start: {message}");
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Q-A004", message))
        }
        VatResult::NotYet { .. } => {
            let message = format!(
                "{name} has no time yet, which code with the timer needs: too few members say what time it is; see that they are up (`vat status {name}`), then try again"
            );
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Q-A013", message))
        }
        VatResult::Refused { message } => Err(ApiError::new(StatusCode::CONFLICT, "Q-A005", message)),
        other => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-A006", format!("{other:?}"))),
    }
}

/// Returns whether it is the command that is wrong, or the vat that can't order anything just now: then it may still take effect.
fn status_of(error: &ProposeError) -> StatusCode {
    match error {
        ProposeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Returns what the vat did lately on the account of another one, as far as this process remembers.
async fn work(
    State(api): State<Api>,
    Path((name, account)): Path<(String, String)>,
) -> Answer<Vec<crate::vat::recent::RecentWork>> {
    let vat = api.host.find(&name)?;
    let account = account
        .parse()
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "Q-A001", format!("{account} is no id of a vat")))?;
    Ok(Json(vat.recent.of(&account)))
}

/// The vat's latest blocks, as far as this process remembers.
async fn blocks(State(api): State<Api>, Path(name): Path<String>) -> Answer<Vec<BlockStatus>> {
    Ok(Json(api.host.find(&name)?.recent.blocks()))
}

/// Who signed which block.
async fn certificates(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(wanted): Query<CertificatesQuery>,
) -> Answer<CertificatesStatus> {
    Ok(Json(api.host.find(&name)?.certificates(wanted.after).map_err(HostError::from)?))
}

async fn introduction(State(api): State<Api>, Path(name): Path<String>) -> Answer<IntroductionReply> {
    let vat = api.host.find(&name)?;
    let introduction = hex::encode(codec::encode(&vat.replica.introduction()));
    Ok(Json(IntroductionReply { vat: vat.vat.to_string(), introduction }))
}

async fn proof(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(wanted): Query<ProofQuery>,
) -> Answer<ProofReply> {
    let vat = api.host.find(&name)?;
    let file = match wanted.from {
        None => Some(vat.proof().map_err(HostError::from)?),
        Some(peer) => {
            let named = peer.parse().ok().or_else(|| api.host.directory().by_name(&peer));
            named.and_then(|peer| vat.proof_of(&peer))
        }
    };
    Ok(Json(ProofReply { proof: file.map(|file| hex::encode(codec::encode(&file))) }))
}

async fn read(State(api): State<Api>, Path(name): Path<String>, Query(wanted): Query<ReadQuery>) -> Answer<ProofReply> {
    let vat = api.host.find(&name)?;
    let ReadQuery { name, at_least, current } = wanted;
    let reply = vat.read(&ReadRequest { vat: vat.vat, name, at_least, current }).await;
    let proof = match reply {
        ReadReply::NotYet { .. } => None,
        ReadReply::Reading { reading, .. } => {
            let introduction = vat.replica.introduction();
            let items = vec![Item::Reading(reading)];
            Some(hex::encode(codec::encode(&ProofFile { vats: vec![VatProof { introduction, items }] })))
        }
    };
    Ok(Json(ProofReply { proof }))
}

async fn evidence(State(api): State<Api>) -> Answer<EvidenceReply> {
    let file = api.host.evidence()?;
    let directory = api.host.directory();
    let name = |vat: &VatProof| directory.name(&vat.vat()).map(|name| (vat.vat().to_string(), name));
    let names = file.vats.iter().filter_map(name).collect();
    Ok(Json(EvidenceReply { evidence: hex::encode(codec::encode(&file)), names }))
}

async fn change_members(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<MemberChange>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    if request.cancel && vat.replica.withdraw() {
        return Ok(Json(Done::new(format!("the change of {} that this host proposed is withdrawn", vat.name))));
    }
    let change = to_change(&vat, &request)?;
    match vat.replica.reconfigure(change, request.threshold, CHANGE_DEADLINE).await {
        Ok(block) => {
            let message = format!("recorded in block {block} of {}", vat.name);
            Ok(Json(Done { message, block: Some(block), waits: false }))
        }
        Err(error @ ReconfigureError::Waits { .. }) => {
            let own = vat.replica.waiting_changes().into_iter().find(|change| change.is_own);
            let waits = own.is_some_and(|change| !change.asked.is_empty());
            Ok(Json(Done { message: error.to_string(), block: None, waits }))
        }
        Err(error) => {
            let status = match &error {
                ReconfigureError::Propose(error) => status_of(error),
                ReconfigureError::Rejected(_) => StatusCode::GONE,
                _ => StatusCode::CONFLICT,
            };
            Err(ApiError::new(status, "Q-A007", error))
        }
    }
}

/// Changes who may use what of a vat.
async fn change_access(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<AccessRequest>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    let change: AccessChange = unhex("the change", &request.change)?;
    let refused = |status, why: String| Err(ApiError::new(status, "Q-A014", why));
    match vat.change_access(change.clone(), CHANGE_DEADLINE).await {
        Ok(AccessOutcome::Done(block)) => {
            let what = access::describe_change(&change, |vat| api.host.directory().name(vat));
            Ok(Json(Done {
                message: format!("done in block {block} of {}: {what}", vat.name),
                block: Some(block),
                waits: false,
            }))
        }
        Ok(AccessOutcome::Waits(message)) => Ok(Json(Done { message, block: None, waits: true })),
        Ok(AccessOutcome::Refused(why)) => refused(StatusCode::CONFLICT, why),
        Err(ReconfigureError::Propose(error)) => refused(status_of(&error), error.to_string()),
        Err(error @ ReconfigureError::Rejected(_)) => refused(StatusCode::GONE, error.to_string()),
        Err(error) => refused(StatusCode::CONFLICT, error.to_string()),
    }
}

/// Gives a vat other code, or says what would come of that.
async fn upgrade(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<UpgradeRequest>,
) -> Answer<UpgradeReply> {
    let vat = api.host.find(&name)?;
    let draft: UpgradeDraft = unhex("the upgrade", &request.upgrade)?;
    let refused = |status, why: String| ApiError::new(status, "Q-A024", why);
    if let Some(image) = draft.image.filter(|image| !api.host.has_image(image)) {
        let why = format!(
            "{} does not have engine image {image}: give it to this host with `vat image add FILE --home HOME`, then repeat",
            api.host.name()
        );
        return Err(refused(StatusCode::CONFLICT, why));
    }
    let upgrade = vat.complete_upgrade(draft).map_err(|why| refused(StatusCode::CONFLICT, why))?;
    if request.foresee {
        let forecast = vat.foresee_upgrade(upgrade).await.map_err(|error| match error {
            NotForeseen::NoLook => no_look(&vat.name),
            NotForeseen::Engine(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            busy @ (NotForeseen::Taken | NotForeseen::Rests(_)) => {
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "Q-A027", busy)
            }
        })?;
        return Ok(Json(UpgradeReply { forecast: Some(forecast), done: None }));
    }
    let done = |message: String, block, waits| {
        Ok(Json(UpgradeReply { forecast: None, done: Some(Done { message, block, waits }) }))
    };
    match vat.upgrade(upgrade, UPGRADE_DEADLINE).await {
        Ok(UpgradeOutcome::Done(block)) => {
            done(format!("{} is upgraded in block {block}", vat.name), Some(block), false)
        }
        Ok(UpgradeOutcome::Waits(message)) => done(message, None, true),
        Ok(UpgradeOutcome::Failed(why)) => {
            let message =
                format!("the upgrade of {} was tried and thrown away, and the vat goes on as it was: {why}", vat.name);
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Q-A025", message))
        }
        Ok(UpgradeOutcome::Refused(why)) => Err(refused(StatusCode::CONFLICT, why)),
        Err(ReconfigureError::Propose(error)) => Err(refused(status_of(&error), error.to_string())),
        Err(error @ ReconfigureError::Rejected(_)) => Err(refused(StatusCode::GONE, error.to_string())),
        Err(error) => Err(refused(StatusCode::CONFLICT, error.to_string())),
    }
}

/// Who holds what of a vat.
async fn objects(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<ObjectsQuery>,
) -> Answer<ObjectsStatus> {
    let vat = api.host.find(&name)?;
    let named = |peer: &String| {
        let found = peer.parse().ok().or_else(|| api.host.directory().by_name(peer));
        let message =
            format!("this host knows no vat {peer}; name it by its VatId, or as `vat objects {}` does", vat.name);
        found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Q-A016", message))
    };
    let peer = query.peer.as_ref().map(named).transpose()?;
    vat.objects(query, peer).await.map(Json).ok_or_else(|| no_look(&vat.name))
}

/// The bearer references of a vat.
async fn references(State(api): State<Api>, Path(name): Path<String>) -> Answer<ReferencesStatus> {
    let vat = api.host.find(&name)?;
    vat.references().await.map(Json).ok_or_else(|| no_look(&vat.name))
}

fn no_look(vat: &str) -> ApiError {
    let message = format!(
        "the replica of {vat} on this host has stopped, or is too busy to be looked at; `vat status {vat}` says which"
    );
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Q-A015", message)
}

/// Does not listen to a member any more, or does again.
async fn mute(State(api): State<Api>, Json(request): Json<MuteRequest>) -> Answer<Done> {
    let host: HostId = request.key.parse().map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "Q-A001", error))?;
    let is_new = api.host.mute(host, request.muted)?;
    let verb = if request.muted { "does not listen to" } else { "listens to" };
    let already = if is_new { "" } else { "; it was so already" };
    Ok(Json(Done::new(format!("{} {verb} {}{already}", api.host.name(), request.key))))
}

/// Has the replica of a vat begin anew that has stopped by a fault.
async fn repair(State(api): State<Api>, Path(name): Path<String>) -> Answer<crate::repair::VatRepair> {
    Ok(Json(api.host.repair(&name).await?))
}

/// Deletes what this host has of a vat.
async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<DeleteRequest>,
) -> Answer<DeleteReply> {
    let finish = api.delete.clone();
    let deleted = api.host.delete(&name, request.force, move |vat, name| Ok(finish(vat, name)?)).await?;
    let Deleted { name, vat, bytes } = deleted;
    Ok(Json(DeleteReply { name, vat: vat.to_string(), bytes }))
}

/// A step of this host in the recovery of a vat.
async fn recover(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(step): Json<RecoveryStep>,
) -> Answer<RecoveryReply> {
    let encoded = match step {
        RecoveryStep::Offer => Some(codec::encode(&api.host.offer_recovery(&name).await?)),
        RecoveryStep::Agree { target } => {
            let target: Membership = unhex("the membership", &target)?;
            Some(codec::encode(&api.host.agree_to_recovery(&name, &target).await?))
        }
        RecoveryStep::CarryOut { certificate } => {
            let certificate: MembershipCertificate = unhex("the certificate", &certificate)?;
            api.host.carry_out_recovery(&name, &certificate).await?;
            None
        }
        RecoveryStep::End => {
            api.host.end_recovery(&name).await?;
            None
        }
    };
    Ok(Json(RecoveryReply { result: encoded.map(hex::encode) }))
}

/// The answer of this host's owner to a change that waits.
async fn answer_change(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(answer): Json<ApprovalAnswer>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    let id: Hash = answer.id.parse().map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "Q-A001", error))?;
    if !vat.replica.answer_change(&id, answer.approve) {
        let message =
            format!("no such change of {} waits here any more; `vat approvals {0}` lists what does", vat.name);
        return Err(ApiError::new(StatusCode::CONFLICT, "Q-A012", message));
    }
    let verb = if answer.approve { "approves" } else { "rejects" };
    Ok(Json(Done::new(format!("{} {verb} the change of {}", api.host.name(), vat.name))))
}

fn to_change(vat: &VatService, request: &MemberChange) -> Result<Change, ApiError> {
    if request.cancel {
        return Ok(Change::Cancel);
    }
    let membership = vat.replica.status().membership;
    let out = request.out.as_ref().map(|out| named_member(&vat.name, &membership.members, out));
    let out: Option<HostId> = out.transpose()?;
    match (out, request.joining.clone(), request.threshold) {
        (Some(out), Some(in_), _) => Ok(Change::Replace { out, in_ }),
        (None, Some(member), _) => Ok(Change::Add(member)),
        (Some(key), None, _) => Ok(Change::Remove(key)),
        (None, None, Some(threshold)) => Ok(Change::Threshold(threshold)),
        (None, None, None) => Err(ApiError::new(StatusCode::BAD_REQUEST, "Q-A009", "the request changes nothing")),
    }
}

/// The one member that is meant by a name or a key.
fn named_member(vat: &str, members: &[Member], name: &str) -> Result<HostId, ApiError> {
    if let Some(member) = members.iter().find(|member| member.key.to_string() == name) {
        return Ok(member.key);
    }
    let named: Vec<&Member> = members.iter().filter(|member| member.name == name).collect();
    match named[..] {
        [member] => Ok(member.key),
        [] => {
            let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
            let message = format!("{name} is not a member of {vat}; its members are {}", names.join(", "));
            Err(ApiError::new(StatusCode::CONFLICT, "Q-A008", message))
        }
        _ => {
            let keys: Vec<_> = named.iter().map(|member| member.key.to_string()).collect();
            let message =
                format!("several members of {vat} are named {name}; say which by its key: {}", keys.join(", "));
            Err(ApiError::new(StatusCode::CONFLICT, "Q-A010", message))
        }
    }
}

/// Listens on a Unix socket that only this user can open. An old socket file is replaced: the home's lock says that nobody is using it.
///
/// # Errors
/// The socket can't be made.
pub fn listen_on_socket(path: &std::path::Path) -> std::io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // It must live until the call is over: it holds the folder open.
    let address = SocketAddress::of(path)?;
    let listener = tokio::net::UnixListener::bind(&address)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_that_can_never_be_ordered_is_the_askers_fault() {
        assert_eq!(status_of(&ProposeError::TooLarge { size: 9, limit: 8 }), StatusCode::PAYLOAD_TOO_LARGE);
        for error in [ProposeError::NoLeader, ProposeError::Unknown, ProposeError::Overloaded] {
            assert_eq!(status_of(&error), StatusCode::SERVICE_UNAVAILABLE, "{error}");
        }
    }

    #[test]
    fn a_member_is_meant_by_its_key_or_by_a_name_that_no_other_has() {
        let member = |seed: u8, name: &str| Member { key: HostId([seed; 32]), name: name.into(), addresses: vec![] };
        let key = |seed: u8| HostId([seed; 32]).to_string();
        // The last one is named by the key of the first.
        let members = [member(1, "alpha"), member(2, "twin"), member(3, "twin"), member(4, &key(1))];
        for (name, wanted) in [("alpha", Ok(1)), ("twin", Err("Q-A010")), ("omega", Err("Q-A008"))] {
            let found = named_member("two", &members, name).map_err(|error| error.1);
            match (found, wanted) {
                (Ok(found), Ok(seed)) => assert_eq!(found, HostId([seed; 32])),
                (Err(found), Err(code)) => assert_eq!(found.code, code, "{name}"),
                (found, wanted) => panic!("{name}: {found:?} instead of {wanted:?}"),
            }
        }
        for seed in 1..4 {
            assert_eq!(named_member("two", &members, &key(seed)).map_err(|error| error.1.code), Ok(HostId([seed; 32])));
        }
        let both = named_member("two", &members, "twin").map_err(|error| error.1.message).expect_err("two have it");
        assert!(both.contains(&key(2)) && both.contains(&key(3)), "{both}");
    }
}
