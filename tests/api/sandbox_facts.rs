//! What FiFo's own handlers showed when they were run, asked of the sandbox over a plain socket.

use crate::raw_http::{self, Answer};
use crate::sandbox_lab::{LOCAL, Lab, START_US};
use fifo_retain::sandbox::{ApiStyle, EmptyMaps, Shape, Vm};
use serde_json::{Value, json};
use uuid::Uuid;

const SIGN_IN: &str = "grant_type=password&username=admin&password=admin";

fn control(lab: &Lab, path: &str, body: &str) -> u16 {
    let request = format!("POST /_sandbox/{path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    raw_http::ask(lab.running.address(), request.as_bytes()).unwrap().unwrap().status
}

fn add_vms(lab: &Lab, count: usize) {
    lab.running.with(|state| {
        for number in 0..count {
            let id = state.world.new_uuid();
            state.world.vms.insert(id, Vm::new(&format!("vm-{number}"), "hv-1"));
        }
    });
}

fn set_style(lab: &Lab, style: ApiStyle) {
    lab.running.with(|state| state.world.shape = Shape { style, empty_maps: EmptyMaps::Array });
}

// ---- Signing in ----------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn without_a_user_store_the_right_password_is_a_400_and_a_good_token_a_401() {
    let lab = Lab::start().await;
    for (store, error) in
        [("server_error", "server_error"), ("temporarily_unavailable", "temporarily_unavailable")]
    {
        assert_eq!(control(&lab, "switches", &format!(r#"{{"user_store": "{store}"}}"#)), 200);
        let refused = lab.ask("POST", "oauth/token", Some(SIGN_IN)).unwrap();
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!(error)));
        assert!(refused.json()["error_description"].is_string());
        let unauthorized = lab.ask("GET", "vms", None).unwrap();
        assert_eq!((unauthorized.status, unauthorized.body.len()), (401, 0));
        assert_eq!(lab.create(&json!({"comment": "daily"})), Some(401));
        assert_eq!(lab.status("GET", "cloud/connection", None), Some(200), "this one needs no user");
    }
    assert_eq!(lab.count(), 0);
    assert_eq!(control(&lab, "switches", r#"{"user_store": "up"}"#), 200);
    assert_eq!(lab.status("GET", "vms", None), Some(200), "the token was good all the time");
    assert_eq!(lab.status("POST", "oauth/token", Some(SIGN_IN)), Some(200));
}

// ---- Permissions ---------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_see_every_vm_and_back_up_only_one() {
    let mut lab = Lab::start().await;
    let backup = lab.made("monthly", None);
    add_vms(&lab, 1);
    let other: Uuid = lab.running.with(|state| *state.world.vms.keys().find(|id| **id != lab.vm).unwrap());
    let permissions =
        json!([["cloud", "vms", "list"], ["vms", "_", "get"], ["vms", other.to_string(), "backup"],]);
    let user = json!({"password": "x", "permissions": permissions});
    assert_eq!(control(&lab, "users/ann", &user.to_string()), 200);
    let granted =
        lab.ask("POST", "oauth/token", Some("grant_type=password&username=ann&password=x")).unwrap();
    lab.token = granted.json()["access_token"].as_str().unwrap().to_owned();

    assert_eq!(lab.ask("GET", "vms", None).unwrap().json().as_array().unwrap().len(), 2);
    let create = |vm: Uuid| lab.status("POST", &format!("vms/{vm}/backups"), Some(r#"{"comment":"daily"}"#));
    assert_eq!((create(lab.vm), create(other)), (Some(403), Some(303)));
    assert_eq!(lab.delete(&backup, Some(LOCAL)), Some(403));
    assert_eq!(
        lab.delete("bbbbbbbb-0000-4000-8000-000000000077", Some(LOCAL)),
        Some(403),
        "before existence"
    );
    assert_eq!(create("cccccccc-0000-4000-8000-000000000077".parse().unwrap()), Some(403));
    assert_eq!(lab.status("HEAD", &format!("vms/{}", lab.vm), None), Some(403));
    assert_eq!(lab.status("HEAD", "vms", None), Some(403));
    assert_eq!(lab.record(&backup).local, Some(true));
}

// ---- Backups -------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn empty_maps_are_arrays_until_2016_and_objects_from_2017() {
    let lab = Lab::start().await;
    let vm = || lab.ask("GET", &format!("vms/{}", lab.vm), None).unwrap().json();
    for (empty_maps, empty) in [(EmptyMaps::Array, json!([])), (EmptyMaps::Object, json!({}))] {
        lab.running.with(|state| state.world.shape.empty_maps = empty_maps);
        let vm = vm();
        for key in ["backups", "metadata", "snapshots", "services"] {
            assert_eq!(vm[key], empty, "{key}");
        }
    }
}

// ---- Lists ---------------------------------------------------------------------------------------------------------

fn full_list(lab: &Lab) -> Answer {
    lab.ask("GET", "vms?full-list=true&full-list-fields=uuid", None).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_takes_too_long_is_cut_each_time_and_the_uuids_are_not() {
    let lab = Lab::start().await;
    add_vms(&lab, 29);
    assert_eq!(full_list(&lab).json().as_array().unwrap().len(), 30);
    // Ten VMs at 10 ms each.
    assert_eq!(control(&lab, "switches", r#"{"list_limit_ms": 100}"#), 200);
    for _ in 0..3 {
        let cut = full_list(&lab);
        assert_eq!((cut.status, cut.header("content-length")), (200, None));
        let text = String::from_utf8(cut.body).unwrap();
        assert!(!text.ends_with(']'), "{text}");
        let whole: Value = serde_json::from_str(&format!("{text}]")).unwrap();
        assert_eq!(whole.as_array().unwrap().len(), 10);
    }
    let uuids = lab.ask("GET", "vms", None).unwrap().json();
    assert_eq!(uuids.as_array().unwrap().len(), 30);
    assert_eq!(control(&lab, "switches", r#"{"list_limit_ms": 300}"#), 200);
    assert_eq!(full_list(&lab).json().as_array().unwrap().len(), 30);
    assert_eq!(control(&lab, "switches", r#"{"list_limit_ms": 1}"#), 200);
    assert_eq!(full_list(&lab).body, b"", "cut before its first element");
    set_style(&lab, ApiStyle::V2);
    assert_eq!(full_list(&lab).json().as_array().unwrap().len(), 30, "2015 does not stream it");
    set_style(&lab, ApiStyle::V3);
    assert_eq!(control(&lab, "switches", r#"{"list_limit_ms": null}"#), 200);
    assert_eq!(full_list(&lab).json().as_array().unwrap().len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_2015_has_its_length_and_one_of_2016_ends_with_its_connection() {
    let lab = Lab::start().await;
    for path in ["vms", "vms?full-list=true&full-list-fields=uuid"] {
        set_style(&lab, ApiStyle::V3);
        let streamed = lab.ask("GET", path, None).unwrap();
        assert_eq!(streamed.header("content-length"), None);
        assert_eq!(streamed.header("transfer-encoding"), Some("identity"));
        assert_eq!(streamed.header("connection"), Some("close"));
        set_style(&lab, ApiStyle::V2);
        let whole = lab.ask("GET", path, None).unwrap();
        let length = whole.body.len().to_string();
        assert_eq!(whole.header("content-length"), Some(length.as_str()));
        assert_eq!((whole.header("connection"), whole.json()), (None, streamed.json()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_switches_and_users_without_a_password_are_refused() {
    let lab = Lab::start().await;
    assert_eq!(control(&lab, "switches", r#"{"user_store": "gone"}"#), 400);
    assert_eq!(control(&lab, "switches", r#"{"lights": true}"#), 400);
    assert_eq!(control(&lab, "users/ann", r#"{"permissions": []}"#), 400);
    assert_eq!(control(&lab, "switches", r#"{"backend_up": false, "store_configured": false}"#), 200);
    assert_eq!(lab.status("GET", "vms", None), Some(503));
    assert_eq!(control(&lab, "switches", r#"{"backend_up": true}"#), 200);
    assert_eq!(lab.create(&json!({"comment": "daily"})), Some(500), "no backup store");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_may_have_a_cache_and_the_stamps_may_be_ahead_of_the_date() {
    let lab = Lab::start().await;
    assert_eq!(control(&lab, "switches", r#"{"nodes": 2, "stamps_ahead_s": 600}"#), 200);
    assert_eq!(control(&lab, "faults", r#"{"when": {"node": 1}, "effect": {"stale": {}}}"#), 200);
    assert_eq!(lab.create(&json!({"comment": "monthly"})), Some(303));
    let shown = [lab.backups(), lab.backups(), lab.backups()];
    let fresh = shown[1].as_object().unwrap().values().next().unwrap();
    assert_eq!((&shown[0], &shown[2]), (&json!([]), &json!([])));
    assert_eq!(fresh["timestamp"], START_US + 600_000_000);
}
