use super::*;

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
