use super::*;
use crate::sandbox::{Shape, Vm};
use serde_json::json;

const NOW_US: i64 = 1_795_383_402_000_000;
const SECOND_US: i64 = 1_000_000;

struct Cloud {
    world: World,
    faults: Faults,
    vm: Uuid,
    token: String,
}

fn cloud(rules: Vec<Rule>) -> Cloud {
    let mut world = World::new(Shape::default(), 1);
    world.upload_ms = 1_000;
    let vm = world.new_uuid();
    world.vms.insert(vm, Vm::new("web-1", "hv-1"));
    let token = world.sign_in("admin", NOW_US);
    Cloud { world, faults: Faults { rules, ..Faults::default() }, vm, token }
}

impl Cloud {
    fn ask(&mut self, method: &str, path: &str, body: &str, at_us: i64) -> Outgoing {
        let request = self.request(method, path, body);
        self.faults.handle(&mut self.world, &request, at_us)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Request {
        Request::new(method, &format!("/api/3/{path}"))
            .with_header("accept", "application/json")
            .with_header("authorization", &format!("Bearer {}", self.token))
            .with_header("content-type", "application/json")
            .with_body(body)
    }

    fn create(&mut self, body: &str, at_us: i64) -> Outgoing {
        let path = format!("vms/{}/backups", self.vm);
        self.ask("POST", &path, body, at_us)
    }

    fn backups(&self) -> usize {
        self.world.vms[&self.vm].backups.len()
    }

    /// How many backups a read of the VM shows.
    fn read_vm(&mut self, at_us: i64) -> usize {
        let out = self.ask("GET", &format!("vms/{}", self.vm), "", at_us);
        count(&json_of(out)["backups"])
    }

    /// Reads the VM and the list, whatever comes of it.
    fn shown_to_nobody(&mut self) {
        self.ask("GET", &format!("vms/{}", self.vm), "", NOW_US);
        self.ask("GET", "vms", "", NOW_US);
    }

    /// How many backups a read of the VM shows, and how many the list.
    fn shown(&mut self, at_us: i64) -> (usize, usize) {
        let vm = self.read_vm(at_us);
        let list = json_of(self.ask("GET", "vms?full-list=true&full-list-fields=backups", "", at_us));
        (vm, count(&list[0]["backups"]))
    }
}

fn count(backups: &Value) -> usize {
    backups.as_object().map_or(0, serde_json::Map::len)
}

fn json_of(out: Outgoing) -> Value {
    serde_json::from_slice(&out.reply.unwrap().body).unwrap()
}

#[test]
fn a_late_write_is_carried_out_later_with_its_condition_judged_then() {
    let mut cloud = cloud(vec![Rule::new(Effect::ActLate { ms: 40_000 }).on(Operation::Create).times(1)]);
    assert!(cloud.create("{}", NOW_US).reset);
    cloud.shown(NOW_US + 39 * SECOND_US);
    assert_eq!(cloud.backups(), 0);
    cloud.shown(NOW_US + 41 * SECOND_US);
    assert_eq!(cloud.backups(), 1);

    let etag = |out: Outgoing| out.reply.unwrap().header("etag").unwrap().to_owned();
    let path = format!("vms/{}", cloud.vm);
    let before = etag(cloud.ask("GET", &path, "", NOW_US + 100 * SECOND_US));
    cloud.faults.rules = vec![Rule::new(Effect::ActLate { ms: 40_000 }).times(1)];
    let request = cloud.request("POST", &format!("{path}/backups"), "").with_header("if-match", &before);
    cloud.faults.handle(&mut cloud.world, &request, NOW_US + 101 * SECOND_US);
    cloud.create("{}", NOW_US + 110 * SECOND_US);
    cloud.shown(NOW_US + 200 * SECOND_US);
    assert_eq!(cloud.backups(), 2, "the VM has changed meanwhile, so the late one is refused");
}

#[test]
fn of_several_caches_a_write_clears_the_one_of_its_node() {
    let mut cloud = cloud(vec![Rule::new(Effect::Stale { seconds: None })]);
    cloud.faults.nodes = 2;
    cloud.create("{}", NOW_US);
    let full = *cloud.world.vms[&cloud.vm].backups.keys().next().unwrap();
    cloud.world.advance(NOW_US + SECOND_US);
    let reads =
        |cloud: &mut Cloud| [cloud.read_vm(NOW_US + 2 * SECOND_US), cloud.read_vm(NOW_US + 2 * SECOND_US)];
    assert_eq!(reads(&mut cloud), [0, 0], "node 1, then node 0");
    cloud.create(&json!({"parent": full}).to_string(), NOW_US + 2 * SECOND_US);
    assert_eq!(reads(&mut cloud), [0, 2], "node 1 took the increment, and node 0 does not know of it");
}

#[test]
fn a_request_delivered_twice_is_done_once_under_a_condition_and_twice_without() {
    let mut cloud = cloud(vec![]);
    cloud.create("{}", NOW_US);
    let path = format!("vms/{}", cloud.vm);
    let read = cloud.ask("GET", &path, "", NOW_US + 2 * SECOND_US).reply.unwrap();
    let backup = *cloud.world.vms[&cloud.vm].backups.keys().next().unwrap();
    cloud.faults.rules = vec![Rule::new(Effect::Twice)];
    let path = format!("{path}/backups/{backup}");
    let request = cloud.request("DELETE", &path, "").with_header("if-match", read.header("etag").unwrap());
    let out = cloud.faults.handle(&mut cloud.world, &request, NOW_US + 2 * SECOND_US);
    assert_eq!((status(&out), cloud.backups()), (Some(412), 0));
    let out = cloud.create("{}", NOW_US + 3 * SECOND_US);
    assert_eq!((status(&out), cloud.backups()), (Some(303), 2));
}

#[test]
fn a_lost_body_makes_a_create_a_full_one_without_a_comment_and_a_local_delete_one_of_the_chain() {
    let mut cloud = cloud(vec![Rule::new(Effect::DropBody)]);
    cloud.create(r#"{"comment": "daily", "parent": "no"}"#, NOW_US);
    let (backup, record) = cloud.world.vms[&cloud.vm].backups.first_key_value().unwrap();
    assert_eq!((record.comment.as_deref(), record.parent), (Some(""), None));
    let path = format!("vms/{}/backups/{backup}", cloud.vm);
    let out = cloud.ask("DELETE", &path, r#"{"location":"hypervisor"}"#, NOW_US);
    assert_eq!((status(&out), cloud.backups()), (Some(204), 0));
}

#[test]
fn versions_and_dates_can_be_hidden_and_conditions_refused() {
    let mut cloud = cloud(vec![]);
    let path = format!("vms/{}", cloud.vm);
    let mut etag = |effect| {
        cloud.faults.rules = vec![Rule::new(effect)];
        let out = cloud.ask("GET", &path, "", NOW_US);
        (out.hides_date, out.reply.unwrap().header("etag").map(|etag| etag.starts_with("W/")))
    };
    assert_eq!(etag(Effect::HideEtag), (false, None));
    assert_eq!(etag(Effect::WeakEtag), (false, Some(true)));
    assert_eq!(etag(Effect::HideDate), (true, Some(false)));
    assert_eq!(etag(Effect::RefuseConditions), (false, Some(false)), "there is no condition");
}

fn status(out: &Outgoing) -> Option<u16> {
    out.reply.as_ref().map(|reply| reply.status)
}

fn answer(status: u16) -> Effect {
    Effect::Answer { status, retry_after_s: None, location: None }
}

#[test]
fn a_rule_lets_some_pass_strikes_at_every_so_manieth_and_stops() {
    let rule = Rule { every: 2, ..Rule::new(answer(503)).on(Operation::List).after(1).times(2) };
    let mut cloud = cloud(vec![rule]);
    let path = format!("vms/{}", cloud.vm);
    assert_eq!(status(&cloud.ask("GET", &path, "", NOW_US)), Some(200), "another operation");
    let seen: Vec<_> = (0..8).filter_map(|_| status(&cloud.ask("GET", "vms", "", NOW_US))).collect();
    assert_eq!(seen, [200, 503, 200, 503, 200, 200, 200, 200]);
}

#[test]
fn a_rule_counts_only_what_it_looks_at() {
    let (vm, other) = (cloud(vec![]).vm, Uuid::nil());
    let stale = || Rule::new(Effect::Stale { seconds: None });
    for (rule, seen) in [
        (Rule::new(Effect::Drop), 2),
        (Rule::new(Effect::Drop).of_vm(vm), 1),
        (Rule::new(Effect::Drop).of_vm(other), 0),
        (Rule::new(Effect::Drop).on(Operation::Create), 0),
        (Rule::new(Effect::Drop).at_node(1), 0),
        (stale(), 1),
    ] {
        let mut cloud = cloud(vec![rule.clone()]);
        cloud.shown_to_nobody();
        assert_eq!(cloud.faults.rules[0].seen, seen, "{rule:?}");
    }
}

#[test]
fn what_is_not_done_and_what_is_done_all_the_same() {
    for (effect, answered, reset, done) in [
        (answer(500), Some(500), false, 0),
        (Effect::ActThenAnswer { status: 500 }, Some(500), false, 1),
        (Effect::Drop, None, true, 0),
        (Effect::ActThenDrop, None, true, 1),
    ] {
        let mut cloud = cloud(vec![Rule::new(effect.clone())]);
        let out = cloud.create(r#"{"comment": "daily"}"#, NOW_US);
        assert_eq!((status(&out), out.reset, cloud.backups()), (answered, reset, done), "{effect:?}");
    }
}

#[test]
fn a_cache_of_some_seconds_hides_what_was_written_and_the_list_never() {
    let mut cloud = cloud(vec![Rule::new(Effect::Stale { seconds: Some(2) })]);
    cloud.create("{}", NOW_US);
    assert_eq!(cloud.shown(NOW_US + SECOND_US), (0, 1));
    assert_eq!(cloud.shown(NOW_US + 2 * SECOND_US), (1, 1));
}

#[test]
fn a_cache_without_end_hides_a_full_backup_until_an_incremental_one_or_a_delete() {
    let day_us = 86_400 * SECOND_US;
    let mut cloud = cloud(vec![Rule::new(Effect::Stale { seconds: None })]);
    cloud.create("{}", NOW_US);
    cloud.token = cloud.world.sign_in("admin", NOW_US + day_us);
    assert_eq!(cloud.shown(NOW_US + day_us), (0, 1));
    let parent = *cloud.world.vms[&cloud.vm].backups.keys().next().unwrap();
    cloud.create(&json!({"parent": parent}).to_string(), NOW_US + day_us);
    assert_eq!(cloud.shown(NOW_US + day_us), (2, 2), "an incremental create clears it");

    cloud.create("{}", NOW_US + day_us);
    assert_eq!(cloud.shown(NOW_US + day_us), (2, 3));
    let path = format!("vms/{}/backups/{parent}", cloud.vm);
    cloud.ask("DELETE", &path, r#"{"location":"hypervisor"}"#, NOW_US + day_us);
    assert_eq!(cloud.shown(NOW_US + day_us), (3, 3), "a delete clears it");
}

#[test]
fn a_cached_read_brings_its_old_etag_so_that_if_match_refuses_for_ever() {
    let mut cloud = cloud(vec![Rule::new(Effect::Stale { seconds: None })]);
    cloud.create("{}", NOW_US);
    let path = format!("vms/{}", cloud.vm);
    let etag = cloud.ask("GET", &path, "", NOW_US).reply.unwrap().header("etag").unwrap().to_owned();
    let request = cloud.request("GET", &path, "").with_header("if-match", &etag);
    assert_eq!(status(&cloud.faults.handle(&mut cloud.world, &request, NOW_US)), Some(412));
}
