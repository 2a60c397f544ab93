//! An object's methods as tools of the Model Context Protocol (<https://modelcontextprotocol.io/specification/2025-11-25>), by its streamable
//! HTTP transport: each message is a request of its own, answered by JSON; there are no sessions, and nothing that the server would say first.
//!
//! The bearer names the object: its holder has these tools and no others.

use super::calls::{Answered, Ask, Calls};
use super::problem::{Done, Problem, rpc_error};
use super::schema::Interface;
use super::values::read_arguments;
use super::{json_text, request};
use crate::address::Address;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::Method;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// Versions of the protocol that are spoken here, the newest first.
const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The method by which objects of Endo's packages say what methods they have.
const GET_METHOD_NAMES: &str = "__getMethodNames__";
/// The method by which objects with a guard say what their methods take.
const GET_INTERFACE_GUARD: &str = "__getInterfaceGuard__";
/// Tools of one object at most.
const MAX_TOOLS: usize = 256;

/// Codes of JSON-RPC 2.0.
const PARSE: i64 = -32_700;
const INVALID: i64 = -32_600;
const NO_METHOD: i64 = -32_601;
const PARAMS: i64 = -32_602;
const INTERNAL: i64 = -32_603;

/// The object that a caller asks about, and the caller.
struct Of {
    reference: Sturdyref,
    address: Address,
}

/// Answers one message.
pub(super) async fn serve(calls: &Arc<Calls>, address: Address, headers: &HeaderMap, body: Body) -> Response {
    let reference = match request::bearer(headers).and_then(|token| request::whole(&token)) {
        Ok(reference) => reference,
        Err(problem) => return problem.into_response(),
    };
    if let Some(version) = headers.get(VERSION)
        && !VERSIONS.iter().any(|known| known.as_bytes() == version.as_bytes())
    {
        let why = format!("this version of the protocol is not spoken here, but {}", VERSIONS.join(", "));
        return Problem::malformed(why).into_response();
    }
    let place = match request::place(&body, address, &calls.large) {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let of = Of { reference, address };
    let message = request::read_json(headers, body).await;
    drop(place);
    let message = match message {
        Ok(message) => message.unwrap_or_default(),
        Err(problem) => {
            let text = rpc_error(&Json::Null, PARSE, problem.detail.clone()).to_string();
            return (problem.status, json_text(text)).into_response();
        }
    };
    let (id, method) = (message.get("id"), message.get("method").and_then(Json::as_str));
    let is_id = |id: &Json| id.is_string() || id.is_i64() || id.is_u64();
    match (id, method) {
        // A notification, or an answer to something that was never asked.
        (None, Some(_)) | (Some(_), None) if message["jsonrpc"] == "2.0" => StatusCode::ACCEPTED.into_response(),
        (Some(id), Some(method)) if message["jsonrpc"] == "2.0" && is_id(id) => {
            let answered = answer(calls, &of, method, &message["params"]).await;
            let answer = match answered {
                Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
                Err((code, why)) => rpc_error(id, code, why),
            };
            json_text(answer.to_string())
        }
        _ => {
            let why = "one message of JSON-RPC 2.0 is needed: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":…}";
            (StatusCode::BAD_REQUEST, json_text(rpc_error(&Json::Null, INVALID, why).to_string())).into_response()
        }
    }
}

async fn answer(calls: &Arc<Calls>, of: &Of, method: &str, params: &Json) -> Result<Json, (i64, String)> {
    match method {
        "initialize" => Ok(initialize(params)),
        "ping" => Ok(json!({})),
        "tools/list" => {
            let (names, interface) = methods(calls, of).await.map_err(|problem| (INTERNAL, problem.detail))?;
            Ok(json!({ "tools": names.iter().map(|name| tool(name, &interface)).collect::<Vec<_>>() }))
        }
        "tools/call" => call(calls, of, params).await,
        _ => Err((NO_METHOD, format!("{method:?} is not done here: there are tools, and nothing else"))),
    }
}

fn initialize(params: &Json) -> Json {
    let wanted = params["protocolVersion"].as_str();
    let version = VERSIONS.iter().find(|known| Some(**known) == wanted).unwrap_or(&VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "quorate", "title": "An object of a vat", "version": env!("CARGO_PKG_VERSION") },
        "instructions": "Each tool is a method of one object; its arguments are a list. A reference to another object is {\"@ref\":\"vat://…\"}, in results and in arguments.",
    })
}

/// A tool's name: what the protocol allows.
fn is_tool_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_fine) && !name.starts_with("__")
}

fn tool(name: &str, interface: &Interface) -> Json {
    let of = if interface.name.is_empty() { String::new() } else { format!(" of {}", interface.name) };
    let mut description = format!("Calls the method {name}{of}.");
    let mut args = match interface.arguments(name) {
        Some(schema) => schema.clone(),
        None => {
            description += " The object does not say which arguments it takes.";
            json!({ "type": "array", "items": {} })
        }
    };
    let needs_some = args["minItems"].as_u64().is_some_and(|count| count > 0);
    args["description"] = "The arguments, in order".into();
    let mut input = json!({ "type": "object", "properties": { "args": args }, "additionalProperties": false });
    if needs_some {
        input["required"] = json!(["args"]);
    }
    json!({ "name": name, "description": description, "inputSchema": input })
}

/// Names of the methods of an object, as far as they can be names of tools, and what its guard says of them, if it has one.
async fn methods(calls: &Arc<Calls>, of: &Of) -> Result<(Vec<String>, Interface), Problem> {
    let answered = calls.call(ask(of, Method::Call(GET_METHOD_NAMES.to_owned()), Json::Array(vec![]))?).await;
    let names = match answered {
        Ok(Answered { result, .. }) => serde_json::from_str::<Vec<String>>(&result).unwrap_or_default(),
        Err(problem) if problem.done == Done::Yes => names_of_refusal(&problem.detail).ok_or(problem)?,
        Err(problem) => return Err(problem),
    };
    let has_guard = names.iter().any(|name| name == GET_INTERFACE_GUARD);
    let mut names: Vec<String> = names.into_iter().filter(|name| is_tool_name(name)).collect();
    names.sort();
    names.dedup();
    names.truncate(MAX_TOOLS);
    let interface = if has_guard { interface(calls, of).await? } else { Interface::default() };
    Ok((names, interface))
}

/// What the object's guard says. A guard that can't be had or read says nothing.
async fn interface(calls: &Arc<Calls>, of: &Of) -> Result<Interface, Problem> {
    let ask = ask(of, Method::Call(GET_INTERFACE_GUARD.to_owned()), Json::Array(vec![]))?;
    match calls.call(ask).await {
        Ok(Answered { result, .. }) => {
            let guard = serde_json::from_str(&result).unwrap_or_default();
            Ok(Interface::read(&guard).unwrap_or_default())
        }
        Err(problem) if problem.done == Done::Yes => Ok(Interface::default()),
        Err(problem) => Err(problem),
    }
}

/// A vat that is asked for a method which is not there says which are: `TypeError: target has no method "x", has ["a","b"]`.
fn names_of_refusal(shown: &str) -> Option<Vec<String>> {
    let (what, names) = shown.split_once(", has ")?;
    what.ends_with(&format!("target has no method {GET_METHOD_NAMES:?}")).then_some(())?;
    serde_json::from_str(names).ok()
}

fn ask(of: &Of, method: Method, args: Json) -> Result<Ask, Problem> {
    let (args, slots) = read_arguments(args).map_err(Problem::malformed)?;
    let Of { reference, address } = of;
    let sturdyref = reference.clone();
    Ok(Ask { sturdyref, address: *address, method, args, slots, key: None, prove: false, patience: PATIENCE })
}

async fn call(calls: &Arc<Calls>, of: &Of, params: &Json) -> Result<Json, (i64, String)> {
    let name = params["name"].as_str().filter(|name| is_tool_name(name));
    let name = name.ok_or((PARAMS, "the name of a tool is needed; tools/list lists them".to_owned()))?;
    let arguments = params.get("arguments").and_then(|arguments| arguments.get("args"));
    let arguments = arguments.cloned().unwrap_or_else(|| Json::Array(Vec::new()));
    let ask = ask(of, Method::Call(name.to_owned()), arguments).map_err(|problem| (PARAMS, problem.detail))?;
    Ok(match calls.call(ask).await {
        Ok(Answered { result, .. }) => {
            let structured: Json = serde_json::from_str(&result).unwrap_or_default();
            json!({
                "content": [{ "type": "text", "text": result }],
                "structuredContent": { "result": structured },
                "isError": false,
            })
        }
        // For the author of the arguments, who can do better or say why not.
        Err(problem) => {
            problem.refusal.iter().for_each(|refusal| calls.stats.refused(*refusal));
            let text = match problem.done {
                Done::Yes => problem.detail.clone(),
                Done::No => format!("{}: {} (not done)", problem.code, problem.detail),
                Done::Maybe => format!("{}: {} (perhaps done)", problem.code, problem.detail),
            };
            json!({
                "content": [{ "type": "text", "text": text }],
                "structuredContent": { "problem": problem.to_json() },
                "isError": true,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_what_a_vat_says_of_a_method_that_is_not_there() {
        let says = r#"TypeError: target has no method "__getMethodNames__", has ["increment","read"]"#;
        assert_eq!(names_of_refusal(says), Some(vec!["increment".to_owned(), "read".to_owned()]));
        for other in [
            "Error: no such object",
            r#"TypeError: target has no method "read", has ["increment"]"#,
            r#"TypeError: target has no method "__getMethodNames__", it is a function"#,
            r#"TypeError: target has no method "__getMethodNames__", has [increment]"#,
        ] {
            assert_eq!(names_of_refusal(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_tool_is_left_out() {
        for good in ["read", "a.b-c_9"] {
            assert!(is_tool_name(good), "{good}");
        }
        for bad in ["", "é", "a b", "__getMethodNames__", &"x".repeat(129)] {
            assert!(!is_tool_name(bad), "{bad}");
        }
    }
}
