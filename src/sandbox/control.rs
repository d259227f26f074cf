//! The controls beside FiFo's API, below `/_sandbox/`: no part of FiFo, and without sign-in.

use super::message::{Reply, Request};
use super::rules::Rule;
use super::script::UploadScript;
use super::state::State;
use super::users::{User, UserStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use uuid::Uuid;

/// How many of the last requests `GET /_sandbox/requests` lists.
const RECENT: usize = 200;

/// Answers a request for the controls; `None` where it is for FiFo.
pub(super) fn handle(state: &mut State, request: &Request, now_us: i64) -> Option<Reply> {
    let path = request.path().strip_prefix("/_sandbox/")?;
    let parts: Vec<&str> = path.split('/').collect();
    Some(match (request.method.as_str(), &parts[..]) {
        ("GET", ["world"]) => {
            state.world.advance(now_us);
            json_reply(200, serde_json::to_vec(&state.world).unwrap_or_default())
        }
        ("GET", ["requests"]) => {
            let recent = state.requests.iter().rev().take(RECENT).rev().map(|asked| {
                let request = &asked.request;
                json!({"method": request.method, "target": request.target, "status": asked.status})
            });
            show(200, &recent.collect())
        }
        ("POST", ["faults"]) => done(one_or_more::<Rule>(&request.body), |rules| {
            state.faults.rules.extend(rules);
            json!({"rules": state.faults.rules.len()})
        }),
        ("DELETE", ["faults"]) => {
            state.faults.clear();
            show(200, &json!({"rules": 0}))
        }
        ("POST", ["switches"]) => done(one::<Switches>(&request.body), |switches| {
            switches.set(state);
            json!({})
        }),
        ("POST", ["users", name]) => done(one::<User>(&request.body), |user| {
            state.world.users.insert((*name).to_owned(), user);
            json!({"users": state.world.users.len()})
        }),
        ("POST", ["vms", vm, "fates"]) => {
            match Uuid::try_parse(vm).ok().and_then(|vm| state.world.vms.get_mut(&vm)) {
                None => refusal(404, "there is no such VM"),
                Some(vm) => done(one_or_more::<UploadScript>(&request.body), |fates| {
                    vm.fates.extend(fates);
                    json!({"fates": vm.fates.len()})
                }),
            }
        }
        _ => refusal(
            404,
            "the controls are GET world, GET requests, POST faults, DELETE faults, POST switches, \
             POST users/<name>, POST vms/<uuid>/fates",
        ),
    })
}

/// What can be switched; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    backend_up: Option<bool>,
    store_configured: Option<bool>,
    user_store: Option<UserStore>,
    /// The inner `None` is a `null`: no limit.
    #[serde(default, deserialize_with = "there")]
    list_limit_ms: Option<Option<u64>>,
    stamps_ahead_s: Option<i64>,
    nodes: Option<u32>,
}

impl Switches {
    fn set(self, state: &mut State) {
        let Self { backend_up, store_configured, user_store, list_limit_ms, stamps_ahead_s, nodes } = self;
        let world = &mut state.world;
        world.backend_up = backend_up.unwrap_or(world.backend_up);
        world.store_configured = store_configured.unwrap_or(world.store_configured);
        world.user_store = user_store.unwrap_or(world.user_store);
        world.list_limit_ms = list_limit_ms.unwrap_or(world.list_limit_ms);
        world.stamps_ahead_s = stamps_ahead_s.unwrap_or(world.stamps_ahead_s);
        state.faults.nodes = nodes.unwrap_or(state.faults.nodes);
    }
}

/// Distinguishes a `null` from a missing field.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn one<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

/// Reads one thing, or an array of them.
fn one_or_more<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    match one(body)? {
        Value::Array(items) => items.into_iter().map(serde_json::from_value).collect(),
        item => Ok(vec![serde_json::from_value(item)?]),
    }
}

/// Carries out what was read, and shows what comes of it.
fn done<T>(read: Result<T, serde_json::Error>, carry_out: impl FnOnce(T) -> Value) -> Reply {
    match read {
        Ok(read) => show(200, &carry_out(read)),
        Err(error) => refusal(400, &error.to_string()),
    }
}

fn show(status: u16, value: &Value) -> Reply {
    json_reply(status, value.to_string().into_bytes())
}

fn refusal(status: u16, error: &str) -> Reply {
    show(status, &json!({"error": error}))
}

fn json_reply(status: u16, body: Vec<u8>) -> Reply {
    Reply::empty(status).with_body("application/json", body)
}
