//! The serving side of the HTTP interface.

use super::{CarryRequest, InstallRequest, IntroductionReply};
use crate::{
    codec,
    host::{Host, HostError},
    provision::{Contacts, Provision},
    status::{Done, Failed, MemberChange},
    vat::{
        VatService,
        command::{VatCommand, VatResult},
    },
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use quorate_consensus::{Change, HostKey};
use serde::de::DeserializeOwned;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The largest request body: a bundle of the largest size, in hex, with its arguments.
const BODY_BYTES: usize = 64 << 20;
/// How long recording a membership change may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(20);

/// Notes on disk that a vat is carried.
pub type Marker = dyn Fn(&str) -> std::io::Result<()> + Send + Sync;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub host: Host,
    pub http: String,
    /// Makes the mark that a vat is carried.
    pub mark: Arc<Marker>,
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
            HostError::NameTaken(_) | HostError::WasMember(_) | HostError::Image { .. } | HostError::Genesis { .. } => {
                StatusCode::CONFLICT
            }
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
        .route("/api/v1/vats/{vat}/introduction", get(introduction))
        .route("/api/v1/contacts", post(contacts))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(api.clone());
    public_routes(api).merge(changing)
}

async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.host.metrics().await).into_response()
}

async fn ready(State(api): State<Api>) -> Response {
    let reasons = api.host.not_ready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; "))).into_response()
}

async fn status(State(api): State<Api>) -> Json<crate::status::HostStatus> {
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
    api.host.learn(&contacts);
    let id = provision.genesis.vat_id().to_string();
    let vat = api.host.carry(provision).await?;
    (api.mark)(&id).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-A002", error))?;
    Ok(Json(Done { message: format!("carrying {vat}") }))
}

async fn contacts(State(api): State<Api>, body: String) -> Answer<Done> {
    let contacts: Contacts = unhex("the contacts", body.trim())?;
    api.host.learn(&contacts);
    Ok(Json(Done { message: format!("{} vats noted", contacts.vats.len()) }))
}

async fn install(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<InstallRequest>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    let contacts: Contacts = unhex("the contacts", &request.contacts)?;
    api.host.learn(&contacts);
    let install = unhex("the install", &request.install)?;
    let result = vat.propose(&VatCommand::Install(Box::new(install))).await;
    match result.map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Q-A003", error))? {
        VatResult::Installed => Ok(Json(Done { message: format!("{name} has its code") })),
        VatResult::InstallFailed { message } => {
            let message = format!("the code of {name} did not start: {message}");
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Q-A004", message))
        }
        VatResult::Refused { message } => Err(ApiError::new(StatusCode::CONFLICT, "Q-A005", message)),
        other => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Q-A006", format!("{other:?}"))),
    }
}

async fn introduction(State(api): State<Api>, Path(name): Path<String>) -> Answer<IntroductionReply> {
    let vat = api.host.find(&name)?;
    let introduction = hex::encode(codec::encode(&vat.replica.introduction()));
    Ok(Json(IntroductionReply { vat: vat.vat.to_string(), introduction }))
}

async fn change_members(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<MemberChange>,
) -> Answer<Done> {
    let vat = api.host.find(&name)?;
    let change = to_change(&vat, &request)?;
    let refused = |error: &dyn std::fmt::Display| ApiError::new(StatusCode::CONFLICT, "Q-A007", error);
    let block =
        vat.replica.reconfigure(change, request.threshold, CHANGE_DEADLINE).await.map_err(|error| refused(&error))?;
    Ok(Json(Done { message: format!("the change is recorded in block {block} of {name}") }))
}

fn to_change(vat: &VatService, request: &MemberChange) -> Result<Change, ApiError> {
    let membership = vat.replica.status().membership;
    let out = request.out.as_ref().map(|out| {
        let named = membership.members.iter().find(|member| member.name == *out || member.key.to_string() == *out);
        named.map(|member| member.key).ok_or_else(|| {
            let names: Vec<_> = membership.members.iter().map(|member| member.name.as_str()).collect();
            let message = format!("{out} is not a member of {}; its members are {}", vat.name, names.join(", "));
            ApiError::new(StatusCode::CONFLICT, "Q-A008", message)
        })
    });
    let out: Option<HostKey> = out.transpose()?;
    match (out, request.joining.clone(), request.threshold) {
        (Some(out), Some(in_), _) => Ok(Change::Replace { out, in_ }),
        (None, Some(member), _) => Ok(Change::Add(member)),
        (Some(key), None, _) => Ok(Change::Remove(key)),
        (None, None, Some(threshold)) => Ok(Change::Threshold(threshold)),
        (None, None, None) => Err(ApiError::new(StatusCode::BAD_REQUEST, "Q-A009", "the request changes nothing")),
    }
}

/// Serves `routes` on a Unix socket that only this user can open. An old socket file is replaced: the home's lock says that
/// nobody is using it.
pub async fn serve_socket(path: PathBuf, routes: Router) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    axum::serve(listener, routes).await
}
