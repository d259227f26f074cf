//! Signing in.

use super::message::{Reply, Request};
use super::users::UserStore;
use super::world::World;
use serde_json::json;

/// Answers `POST …/oauth/token`.
pub(super) fn token(world: &mut World, request: &Request, now_us: i64) -> Reply {
    let form = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(&request.body);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    if form("grant_type") != "password" {
        return refusal("unsupported_grant_type", "The grant type is not supported.");
    }
    match world.user_store {
        UserStore::Up => {}
        UserStore::ServerError => return refusal("server_error", "timeout"),
        UserStore::TemporarilyUnavailable => {
            return refusal(
                "temporarily_unavailable",
                "The server is currently unable to handle the request.",
            );
        }
    }
    let user = form("username");
    if world.users.get(&user).is_none_or(|known| known.password != form("password")) {
        return refusal("access_denied", "The resource owner or authorization server denied the request.");
    }
    let token = world.sign_in(&user, now_us);
    let granted = json!({
        "access_token": token, "token_type": "bearer", "expires_in": world.token_life_s, "scope": ["*"],
    });
    Reply::empty(200)
        .with_body("application/json", granted.to_string().into_bytes())
        .with_header("cache-control", "no-store")
}

fn refusal(error: &str, description: &str) -> Reply {
    let body = json!({"error": error, "error_description": description});
    Reply::empty(400).with_body("application/json", body.to_string().into_bytes())
}
