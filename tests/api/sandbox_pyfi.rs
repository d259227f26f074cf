//! The sandbox as pyfi meets it, FiFo's own command-line client.
//!
//! The requests are those that pyfi 0.2.9 was seen to send: every one on a connection of its own, its JSON with blanks,
//! a content-length of 0 with every read, and before each command a question after the last token, without signing in.

use crate::raw_http::{self, Answer};
use crate::sandbox_lab::Lab;
use fifo_retain::sandbox::ApiStyle;
use serde_json::{Value, json};

/// pyfi with one profile, as far as it talks.
struct Pyfi<'a> {
    lab: &'a Lab,
    version: &'a str,
    /// What it has written to its profile.
    token: Option<String>,
}

impl Pyfi<'_> {
    fn send(&self, method: &str, target: &str, signed_in: bool, body: &str) -> Answer {
        let address = self.lab.running.address();
        let token = self.token.as_ref().filter(|_| signed_in);
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAccept-Encoding: identity\r\n\
             Content-Length: {}\r\ncontent-type: application/json;charset=UTF-8\r\n{}\
             accept: application/json\r\n\r\n{body}",
            body.len(),
            authorization.unwrap_or_default(),
        );
        raw_http::ask(address, request.as_bytes()).unwrap().unwrap()
    }

    /// What every command begins with: only an answer of 200 would make it go on with the token that it has.
    fn begin(&mut self) {
        let api = format!("/api/{}", self.version);
        if let Some(token) = &self.token {
            let session = self.send("GET", &format!("{api}/sessions/{token}"), false, "");
            assert_eq!(session.status, 405);
        }
        // The form is announced as JSON.
        let form = "username=admin&password=admin&grant_type=password";
        let granted = self.send("POST", &format!("{api}/oauth/token"), false, form);
        assert_eq!(granted.status, 200);
        self.token = Some(granted.json()["access_token"].as_str().unwrap().to_owned());
    }

    fn command(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.begin();
        self.send(method, &format!("/api/{}/{path}", self.version), true, body)
    }

    /// `fifo vms backups VM create`: success is a redirect to something that can be read.
    fn create(&mut self, body: &str) -> Value {
        let posted = self.command("POST", &format!("vms/{}/backups", self.lab.vm), body);
        assert_eq!((posted.status, posted.body.len()), (303, 0));
        let followed = self.send("GET", posted.header("location").unwrap(), true, "");
        assert_eq!(followed.status, 200);
        followed.json()
    }

    /// `fifo vms backups VM list`, and of it the one with a comment, which is there once.
    fn backup(&mut self, comment: &str) -> (String, Value) {
        let vm = self.command("GET", &format!("vms/{}", self.lab.vm), "").json();
        let backups = vm["backups"].as_object().unwrap().clone();
        let mut found = backups.into_iter().filter(|(_, backup)| backup["comment"] == comment);
        let (Some(backup), None) = (found.next(), found.next()) else { panic!("{vm}") };
        backup
    }
}

async fn a_day_with_pyfi(style: ApiStyle, version: &str) {
    let lab = Lab::start().await;
    lab.running.with(|state| state.world.shape.style = style);
    let mut pyfi = Pyfi { lab: &lab, version, token: None };

    // vms list, vms count, vms get
    let fields = "full-list=true&full-list-fields=uuid,config,state,hypervisor,package";
    let list = pyfi.command("GET", &format!("vms?{fields}"), "").json();
    let package = list[0]["package"].clone();
    assert!(package.is_string());
    let row = json!({"uuid": lab.vm, "config": {"alias": "web-1"}, "state": "running", "hypervisor": "hv-1",
        "package": package});
    assert_eq!(list, json!([row]));
    assert_eq!(pyfi.command("GET", "vms", "").json(), json!([lab.vm]));
    let vm = pyfi.command("GET", &format!("vms/{}", lab.vm), "").json();
    assert_eq!((&vm["alias"], &vm["backups"]), (&json!("web-1"), &json!([])));

    // vms backups VM create monthly
    let shown = pyfi.create(r#"{"comment": "monthly", "delete": false}"#);
    let (monthly, record) = pyfi.backup("monthly");
    match style {
        ApiStyle::V2 => {
            assert_eq!((&shown["uuid"], &shown["comment"]), (&json!(monthly), &json!("monthly")));
        }
        ApiStyle::V3 => assert_eq!(shown["backups"][&monthly], record),
    }
    lab.wait(101);
    let (_, record) = pyfi.backup("monthly");
    assert_eq!((&record["state"], &record["local"]), (&json!("completed"), &json!(true)));

    // vms backups VM create -p MONTHLY daily, and a second one that removes its parent's snapshot
    pyfi.create(&format!(r#"{{"comment": "daily", "parent": "{monthly}", "delete": false}}"#));
    lab.wait(101);
    let (daily, record) = pyfi.backup("daily");
    assert_eq!((&record["parent"], &record["local"]), (&json!(monthly), &json!(true)));
    pyfi.create(&format!(r#"{{"comment": "next daily", "parent": "{daily}", "delete": true}}"#));
    lab.wait(101);
    assert_eq!(pyfi.backup("daily").1["local"], false);
    assert_eq!(pyfi.backup("next daily").1["local"], true);

    // vms backups VM delete -l MONTHLY: the blank in the body makes no difference
    let path = format!("vms/{}/backups/{monthly}", lab.vm);
    assert_eq!(pyfi.command("DELETE", &path, r#"{"location": "hypervisor"}"#).status, 204);
    assert_eq!((pyfi.backup("monthly").1["local"].clone(), lab.count()), (json!(false), 3));

    // No incremental on what is not local; no backup after it.
    let body = format!(r#"{{"comment": "daily", "parent": "{monthly}", "delete": false}}"#);
    assert_eq!(pyfi.command("POST", &format!("vms/{}/backups", lab.vm), &body).status, 500);

    // vms backups VM delete MONTHLY takes the chain; once more, and there is nothing
    assert_eq!((pyfi.command("DELETE", &path, "").status, lab.count()), (204, 0));
    assert_eq!(pyfi.command("DELETE", &path, "").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pyfi_can_do_its_work_with_the_fifo_of_2015() {
    a_day_with_pyfi(ApiStyle::V2, "2").await;
    a_day_with_pyfi(ApiStyle::V2, "0.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pyfi_can_do_its_work_with_the_fifo_of_2016() {
    a_day_with_pyfi(ApiStyle::V3, "3").await;
}
