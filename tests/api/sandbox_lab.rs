//! A sandbox with one VM on a clock that the test moves.

use crate::raw_http::{self, Answer};
use fifo_retain::sandbox::{Clock, Effect, Options, Record, Rule, RunningSandbox, Sandbox, Shape, Vm, World};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const START_US: i64 = 1_795_383_402_000_000;
pub(crate) const LOCAL: &str = r#"{"location":"hypervisor"}"#;

pub(crate) struct Lab {
    pub(crate) running: RunningSandbox,
    pub(crate) clock: Clock,
    pub(crate) vm: Uuid,
    pub(crate) token: String,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let mut world = World::new(Shape::default(), 1);
        world.upload_ms = 100_000;
        world.measured_at_us = START_US;
        let vm = world.new_uuid();
        world.vms.insert(vm, Vm { full_bytes: 10 << 20, ..Vm::new("web-1", "hv-1") });
        let token = world.sign_in("admin", START_US);
        let clock = Clock::manual(START_US);
        let options = Options { world: Some(world), clock: clock.clone(), ..options };
        Self { running: Sandbox::start(options).await.unwrap(), clock, vm, token }
    }

    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.advance_us(seconds * 1_000_000);
    }

    /// A whole request, with the usual headers, and a content-length where there is a body.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let length = body.map(|body| format!("content-length: {}\r\n", body.len())).unwrap_or_default();
        let body = body.unwrap_or_default();
        format!(
            "{method} /api/3/{path} HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\
             content-type: application/json\r\nauthorization: Bearer {}\r\n{length}\r\n{body}",
            self.token
        )
        .into_bytes()
    }

    /// Asks on a connection of its own; `None` where it was broken off.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Option<Answer> {
        raw_http::ask(self.running.address(), &self.request(method, path, body)).ok().flatten()
    }

    pub(crate) fn status(&self, method: &str, path: &str, body: Option<&str>) -> Option<u16> {
        self.ask(method, path, body).map(|answer| answer.status)
    }

    pub(crate) fn create(&self, body: &Value) -> Option<u16> {
        self.status("POST", &format!("vms/{}/backups", self.vm), Some(&body.to_string()))
    }

    /// Has a backup created and uploaded, and returns its UUID.
    pub(crate) fn made(&self, comment: &str, parent: Option<&str>) -> String {
        let before = self.backups();
        let mut body = json!({"comment": comment, "xml": true});
        if let Some(parent) = parent {
            body["parent"] = json!(parent);
        }
        assert_eq!(self.create(&body), Some(303));
        self.wait(101);
        let after = self.backups();
        after.as_object().unwrap().keys().find(|id| before.get(id.as_str()).is_none()).unwrap().clone()
    }

    pub(crate) fn delete(&self, backup: &str, body: Option<&str>) -> Option<u16> {
        self.status("DELETE", &self.path_of(backup), body)
    }

    pub(crate) fn path_of(&self, backup: &str) -> String {
        format!("vms/{}/backups/{backup}", self.vm)
    }

    pub(crate) fn backups(&self) -> Value {
        self.ask("GET", &format!("vms/{}", self.vm), None).unwrap().json()["backups"].clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.running.with(|state| state.world.vms[&self.vm].backups.len())
    }

    pub(crate) fn record(&self, backup: &str) -> Record {
        self.running.with(|state| state.world.vms[&self.vm].backups[&backup.parse().unwrap()].clone())
    }

    pub(crate) fn disturb(&self, rule: Rule) {
        self.running.with(|state| state.faults.rules.push(rule));
    }

    pub(crate) fn disturb_once(&self, effect: Effect) {
        self.disturb(Rule::new(effect).times(1));
    }
}
