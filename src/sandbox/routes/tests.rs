use super::*;
use crate::sandbox::FileRecord;
use std::collections::BTreeMap;

const NOW_US: i64 = 1_795_383_402_000_000;

struct Asker {
    world: World,
    vm: Uuid,
    token: String,
}

fn asker(style: ApiStyle) -> Asker {
    let mut world = World::new(Shape { style, empty_maps: EmptyMaps::Array }, 1);
    let vm = world.new_uuid();
    world.vms.insert(vm, Vm::new("web-1", "hv-1"));
    let token = world.sign_in("admin", NOW_US);
    Asker { world, vm, token }
}

impl Asker {
    fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target)
            .with_header("accept", "application/json")
            .with_header("authorization", &format!("Bearer {}", self.token))
            .with_header("content-type", "application/json")
    }

    fn status(&mut self, request: &Request) -> u16 {
        handle(&mut self.world, request, NOW_US).unwrap().status
    }

    fn user(&mut self, permissions: &[&str]) {
        self.world.users.insert("limited".to_owned(), User::allowed_to("x", permissions));
        self.token = self.world.sign_in("limited", NOW_US);
    }
}

#[test]
fn a_missing_permission_is_reported_whether_or_not_the_vm_exists() {
    let mut asker = asker(ApiStyle::V3);
    asker.user(&[]);
    let missing = "/api/3/vms/11111111-0000-4000-8000-000000000099";
    for (method, target) in [("GET", missing.to_owned()), ("POST", format!("{missing}/backups"))] {
        let request = asker.request(method, &target);
        assert_eq!(asker.status(&request), 403, "{method}");
    }
    let list = asker.request("GET", "/api/3/vms");
    assert_eq!(asker.status(&list), 403);
}

#[test]
fn each_permission_opens_its_own_door() {
    let mut asker = asker(ApiStyle::V3);
    let vm = asker.vm;
    let backup = asker.world.create_backup(vm, &BackupRequest::default(), NOW_US).unwrap();
    let doors = [
        ("cloud->vms->list", "GET", "/api/3/vms".to_owned(), 200),
        ("vms->_->get", "GET", format!("/api/3/vms/{vm}"), 200),
        ("vms->_->backup", "POST", format!("/api/3/vms/{vm}/backups"), 303),
        ("vms->_->backup_delete", "DELETE", format!("/api/3/vms/{vm}/backups/{backup}"), 204),
    ];
    for (permission, ..) in &doors {
        asker.user(&[permission]);
        for (needed, method, target, status) in &doors {
            let mut world = asker.world.clone();
            let reply = handle(&mut world, &asker.request(method, target), NOW_US).unwrap();
            let expected = if needed == permission { *status } else { 403 };
            assert_eq!(reply.status, expected, "{method} {target} with {permission}");
        }
    }
}

#[test]
fn a_user_sees_only_the_vms_it_may_get() {
    let mut asker = asker(ApiStyle::V3);
    let other = asker.world.new_uuid();
    asker.world.vms.insert(other, Vm::new("web-2", "hv-1"));
    asker.user(&["cloud->vms->list", &format!("vms->{other}->get")]);
    let request = asker.request("GET", "/api/3/vms");
    let reply = handle(&mut asker.world, &request, NOW_US).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), json!([other]));
}

#[test]
fn the_list_is_full_only_for_true_and_shows_only_known_fields() {
    let mut asker = asker(ApiStyle::V3);
    let vm = asker.vm;
    let mut list = |query: &str, headers: &[(&str, &str)]| {
        let mut request = asker.request("GET", &format!("/api/3/vms{query}"));
        for (name, value) in headers {
            request = request.with_header(name, value);
        }
        let reply = handle(&mut asker.world, &request, NOW_US).unwrap();
        serde_json::from_slice::<Value>(&reply.body).unwrap()
    };
    assert_eq!(list("?full-list=1", &[]), json!([vm]));
    assert_eq!(list("?full-list=TRUE", &[]), json!([vm]));
    assert_eq!(list("?full-list=True&full-list-fields=alias", &[]), json!([{"alias": "web-1"}]));
    assert_eq!(
        list("?full-list=true&full-list-fields=alias, state", &[]),
        json!([{"alias": "web-1"}]),
        "blanks"
    );
    assert_eq!(list("?full-list=true&full-list-fields=config.alias", &[]), json!([[]]), "no paths");
    assert_eq!(
        list("", &[("x-full-list", "true"), ("x-full-list-fields", "alias,uuid")]),
        json!([{"alias": "web-1", "uuid": vm}])
    );
    assert!(list("?full-list=true", &[])[0].as_object().unwrap().len() > 10, "whole objects");
}

#[test]
fn only_json_without_parameters_is_json() {
    for (accept, expected) in [
        (None, Accepted::Msgpack),
        (Some("*/*"), Accepted::Msgpack),
        (Some("application/json"), Accepted::Json),
        (Some("text/html, application/json;q=0.9, */*;q=0.1"), Accepted::Json),
        (Some("application/json;charset=utf-8"), Accepted::Nothing),
        (Some("text/html"), Accepted::Nothing),
        (Some(""), Accepted::Nothing),
    ] {
        assert_eq!(accepted(accept), expected, "{accept:?}");
    }
}

#[test]
fn orders_are_understood_as_fifo_understands_them() {
    let comment = |text: &str| BackupRequest { comment: text.to_owned(), ..BackupRequest::default() };
    assert_eq!(order(b""), Some(BackupRequest::default()));
    assert_eq!(order(b"{}"), Some(BackupRequest::default()));
    assert_eq!(order(b"[]"), Some(BackupRequest::default()));
    assert_eq!(order(br#"{"comment": "daily", "colour": 7}"#), Some(comment("daily")));
    assert_eq!(
        order(br#"{"parent": "p", "delete": true, "xml": true}"#),
        Some(BackupRequest { comment: String::new(), parent: Some("p".to_owned()), delete: true })
    );
    for body in [
        r#"{"parent": null}"#,
        r#"{"delete": null}"#,
        r#"{"comment": null}"#,
        r#"{"xml": null}"#,
        r#"{"delete": "yes"}"#,
        r#"{"parent": 7}"#,
        r#"{"comment": "dai"#,
        "null",
        "[1]",
        "\"daily\"",
    ] {
        assert_eq!(order(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn if_match_guards_reads_creates_and_deletes_and_comes_before_the_content_type() {
    let mut asker = asker(ApiStyle::V3);
    let vm = asker.vm;
    let read = asker.request("GET", &format!("/api/3/vms/{vm}"));
    let etag = handle(&mut asker.world, &read, NOW_US).unwrap().header("etag").unwrap().to_owned();
    let create = asker.request("POST", &format!("/api/3/vms/{vm}/backups"));

    assert_eq!(asker.status(&read.clone().with_header("if-match", "\"another\"")), 412);
    assert_eq!(asker.status(&read.clone().with_header("if-match", &etag)), 200);
    assert_eq!(asker.status(&read.with_header("if-match", "*")), 200);
    assert_eq!(asker.status(&create.clone().with_header("if-match", "\"another\"")), 412);
    assert!(asker.world.vms[&vm].backups.is_empty(), "nothing was done");
    let listed = format!("\"another\", {etag}");
    assert_eq!(asker.status(&create.clone().with_header("if-match", &listed)), 303);
    assert_eq!(asker.status(&create.clone().with_header("if-match", &etag)), 412, "the VM has changed");

    let missing = asker.request("DELETE", &format!("/api/3/vms/{vm}/backups/{vm}"));
    assert_eq!(asker.status(&missing.clone().with_header("if-match", "*")), 412);
    assert_eq!(asker.status(&missing), 404);
    let untyped = Request { headers: create.headers[..2].to_vec(), ..create };
    assert_eq!(asker.status(&untyped.clone().with_header("if-match", "\"another\"")), 412);
    assert_eq!(asker.status(&untyped), 415);
}

#[test]
fn ids_that_are_no_uuids_and_paths_that_are_nothing_have_their_own_answers() {
    let mut asker = asker(ApiStyle::V3);
    let vm = asker.vm;
    for (method, target, status) in [
        ("GET", "/api/3/vms/short".to_owned(), 500),
        ("GET", format!("/api/3/vms/{}", "x".repeat(36)), 404),
        ("GET", format!("/api/3/vms/{vm}/backups/{vm}"), 405),
        ("PUT", format!("/api/3/vms/{vm}"), 405),
        ("GET", "/api/3/elsewhere".to_owned(), 404),
        ("GET", "/api/0.1.0/vms".to_owned(), 404),
        ("GET", "/".to_owned(), 404),
        ("GET", "/api/2/vms".to_owned(), 200),
        ("GET", "/api/3/oauth/token".to_owned(), 405),
        ("HEAD", "/api/3/cloud/connection".to_owned(), 403),
    ] {
        let request = asker.request(method, &target);
        assert_eq!(asker.status(&request), status, "{method} {target}");
    }
}

#[test]
fn a_backend_that_is_down_comes_before_everything() {
    let mut asker = asker(ApiStyle::V3);
    asker.world.backend_up = false;
    for target in ["/api/3/cloud/connection", "/api/3/vms", "/elsewhere"] {
        assert_eq!(asker.status(&Request::new("GET", target)), 503, "{target}");
    }
}

#[test]
fn tokens_come_in_either_header_in_2015_and_in_one_later() {
    for (style, with_snarl) in [(ApiStyle::V2, 200), (ApiStyle::V3, 401)] {
        let mut asker = asker(style);
        let bare = Request::new("GET", "/api/2/vms").with_header("accept", "application/json");
        let token = asker.token.clone();
        assert_eq!(asker.status(&bare.clone().with_header("x-snarl-token", &token)), with_snarl);
        assert_eq!(asker.status(&bare.clone().with_header("authorization", &format!("Bearer {token}"))), 200);
        assert_eq!(asker.status(&bare.clone().with_header("authorization", "Bearer other")), 401);
        assert_eq!(asker.status(&bare), 401);
    }
}

#[test]
fn a_session_cannot_be_looked_up_with_or_without_its_token() {
    for style in [ApiStyle::V2, ApiStyle::V3] {
        let mut asker = asker(style);
        let target = format!("/api/3/sessions/{}", asker.token);
        let request = asker.request("GET", &target);
        assert_eq!(asker.status(&request), 405);
        // As pyfi asks: the method is looked at before the token.
        assert_eq!(
            asker.status(&Request::new("GET", &target).with_header("accept", "application/json")),
            405
        );
    }
}

#[test]
fn a_single_backup_is_read_in_2015_as_its_vm_shows_it_and_not_at_all_later() {
    let backup_of = |asker: &mut Asker| {
        let backup = asker.world.create_backup(asker.vm, &BackupRequest::default(), NOW_US).unwrap();
        format!("/api/2/vms/{}/backups/{backup}", asker.vm)
    };
    let mut later = asker(ApiStyle::V3);
    let target = backup_of(&mut later);
    let request = later.request("GET", &target);
    assert_eq!(later.status(&request), 405);

    let mut asker = asker(ApiStyle::V2);
    let target = backup_of(&mut asker);
    let (vm, backup) = target.split_once("/backups/").unwrap();
    let mut read = |target: &str| {
        let request = asker.request("GET", target);
        handle(&mut asker.world, &request, NOW_US).unwrap()
    };
    let json = |reply: &Reply| serde_json::from_slice::<Value>(&reply.body).unwrap();
    let (whole, single) = (read(vm), read(&target));
    let mut expected = json(&whole)["backups"][backup].clone();
    expected["uuid"] = json!(backup);
    assert_eq!((single.status, json(&single)), (200, expected));
    assert_eq!(single.header("etag"), whole.header("etag"), "it is the VM's");
    assert_eq!(read(&format!("{vm}/backups/{}", Uuid::nil())).status, 404);

    asker.user(&["vms->_->backup_delete"]);
    let request = asker.request("GET", &target);
    assert_eq!(asker.status(&request), 403, "reading needs the permission to read");
}

#[test]
fn fields_are_as_the_year_has_them_and_unknown_ones_are_dropped() {
    let vm = Vm::new("web-1", "hv-1");
    let shown =
        |style, only: Option<&[String]>| vm_json(Uuid::nil(), &vm, Shape { style, ..Shape::default() }, only);
    let (old, new) = (shown(ApiStyle::V2, None), shown(ApiStyle::V3, None));
    assert_eq!((old.get("creating"), &old["alias"]), (None, &json!("web-1")));
    assert_eq!((&new["creating"], &new["alias"]), (&json!(false), &json!("web-1")));
    let fields = ["alias".to_owned(), "nonsense".to_owned()];
    assert_eq!(shown(ApiStyle::V3, Some(&fields)), json!({"alias": "web-1"}));
    assert_eq!(shown(ApiStyle::V3, Some(&[String::new()])), json!([]));
}

#[test]
fn sizes_are_by_file_from_2016_and_of_the_whole_before() {
    let file = |size| FileRecord { size, sha1: Some("aa".to_owned()) };
    let files = BTreeMap::from([("v/b".to_owned(), file(3)), ("v/b-disk0".to_owned(), file(4))]);
    let record = Record { files: Some(files), ..Record::default() };
    let shown = |style| record_json(&record, Shape { style, ..Shape::default() });
    let by_file =
        json!({"files": {"v/b": {"size": 3, "sha1": "aa"}, "v/b-disk0": {"size": 4, "sha1": "aa"}}});
    assert_eq!(shown(ApiStyle::V3), by_file);
    assert_eq!(shown(ApiStyle::V2), json!({"files": ["v/b", "v/b-disk0"], "size": 7, "sha1": "aa"}));
}
