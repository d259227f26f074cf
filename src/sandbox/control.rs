//! The controls beside FiFo's API, below `/_sandbox/`: no part of FiFo, and without sign-in.

use super::faults::Rule;
use super::message::{Reply, Request};
use super::state::State;
use super::vm::UploadScript;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const RECENT: usize = 200;

const SWITCHES: [&str; 5] =
    ["backend_up", "store_configured", "user_store", "list_limit_ms", "stamps_ahead_s"];

const ALL: &str = "the controls are GET world, GET requests, POST faults, DELETE faults, POST switches, \
                   POST users/<name>, POST vms/<uuid>/scripts";

/// Answers a request for the controls; `None` where it is for FiFo.
pub(super) fn handle(state: &mut State, request: &Request, now_us: i64) -> Option<Reply> {
    let path = request.path().strip_prefix("/_sandbox/")?;
    let (status, shown) = match answer(state, path, request, now_us) {
        Ok(shown) => (200, shown),
        Err(Bad(status, error)) => (status, json!({"error": error})),
    };
    Some(Reply::empty(status).with_body("application/json", shown.to_string().into_bytes()))
}

struct Bad(u16, String);

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Self {
        Self(400, error.to_string())
    }
}

fn answer(state: &mut State, path: &str, request: &Request, now_us: i64) -> Result<Value, Bad> {
    let (State { world, faults, requests }, body) = (state, &request.body[..]);
    Ok(match (request.method.as_str(), &path.split('/').collect::<Vec<_>>()[..]) {
        ("GET", ["world"]) => {
            world.advance(now_us);
            json!(world)
        }
        ("GET", ["requests"]) => {
            let recent = requests.iter().skip(requests.len().saturating_sub(RECENT));
            let shown = recent.map(|asked| {
                let request = &asked.request;
                json!({"method": request.method, "target": request.target, "status": asked.status})
            });
            shown.collect()
        }
        ("POST", ["faults"]) => {
            faults.rules.extend(one_or_more::<Rule>(body)?);
            json!({"rules": faults.rules.len()})
        }
        ("DELETE", ["faults"]) => {
            faults.clear();
            json!({"rules": 0})
        }
        ("POST", ["switches"]) => {
            let mut switched = json!(world);
            for (name, value) in serde_json::from_slice::<Map<_, _>>(body)? {
                match name.as_str() {
                    "nodes" => faults.nodes = serde_json::from_value(value)?,
                    name if SWITCHES.contains(&name) => switched[name] = value,
                    name => return Err(Bad(400, format!("unknown switch `{name}`"))),
                }
            }
            *world = serde_json::from_value(switched)?;
            json!({})
        }
        ("POST", ["users", name]) => {
            world.users.insert((*name).to_owned(), serde_json::from_slice(body)?);
            json!({"users": world.users.len()})
        }
        ("POST", ["vms", vm, "scripts"]) => {
            let vm = Uuid::try_parse(vm).ok().and_then(|vm| world.vms.get_mut(&vm));
            let vm = vm.ok_or_else(|| Bad(404, "there is no such VM".to_owned()))?;
            vm.scripts.extend(one_or_more::<UploadScript>(body)?);
            json!({"scripts": vm.scripts.len()})
        }
        _ => return Err(Bad(404, ALL.to_owned())),
    })
}

fn one_or_more<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    match serde_json::from_slice(body)? {
        Value::Array(items) => items.into_iter().map(serde_json::from_value).collect(),
        item => Ok(vec![serde_json::from_value(item)?]),
    }
}
