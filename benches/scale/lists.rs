//! Clouds of any size whose VMs all have one history, and their lists in files.

use fifo_retain::sandbox::{BackupRequest, Clock, Request, Shape, Vm, World, handle};
use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use uuid::Uuid;

/// What the client asks for: only the fields that matter.
pub(crate) const PATH: &str = "/api/3/vms?full-list=true&full-list-fields=uuid,alias,owner,package,dataset,hypervisor,state,\
                        creating,deleting,metadata,config,backups";

/// How many VMs of a list are in memory at a time.
const VMS_AT_A_TIME: u32 = 100;

/// How many VMs share a hypervisor, about.
const VMS_PER_HYPERVISOR: u32 = 50;

const SECOND_US: i64 = 1_000_000;

/// How large a list is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) vms: u32,
    /// How many backups each VM has, one of each of the last nights.
    pub(crate) backups: u32,
    /// Whether last night's run did not take place, so that every VM is due a backup.
    pub(crate) due: bool,
}

/// A cloud of which any VMs are made when they are asked for.
pub(crate) struct Cloud {
    vms: u32,
    /// A world with the one VM whose history all have.
    model: World,
    vm: Uuid,
}

impl Cloud {
    /// Plays the nights of the grandfather scheme by the sandbox's rules: monthly on the first, weekly on Sundays, else
    /// daily, at 01:00 in Berlin. The oldest backup, and the first of a tier without a parent, is a full one.
    pub(crate) fn new(size: Size, now_us: i64) -> Self {
        let mut model = World::new(Shape::default(), 1);
        (model.upload_ms, model.measured_at_us) = (1_000, i64::MAX);
        let id = model.new_uuid();
        let vm = Vm::new("", "hv")
            .with("metadata", json!({"fifo": {"backup": 1}}))
            .with("owner", json!("1d3f5a7c-9b2e-4c6d-8f10-a2b4c6d8e0f1"))
            .with("package", json!("7c2a9e4b-6d1f-4f3a-b8e5-0f9d7c5b3a12"))
            .with("dataset", json!("9eac5c0c-a941-11e2-a7dc-57a6b041988f"));
        model.vms.insert(id, vm);
        let mut local: Vec<(Uuid, &str)> = Vec::new();
        for (tier, at_us) in nights(size, now_us) {
            let may_be_parent = |of: &&(Uuid, &str)| tier == "daily" || tier == "weekly" && of.1 != "daily";
            let parent = local.iter().rev().find(may_be_parent).map(|(parent, _)| parent.to_string());
            let order = BackupRequest { comment: tier.to_owned(), parent, delete: false };
            model.advance(at_us);
            let made = model.create_backup(id, &order, at_us).unwrap();
            model.advance(at_us + SECOND_US);
            // A daily leaves the snapshot that the next weekly is taken from.
            for (gone, _) in local.extract_if(.., |(_, of)| tier != "daily" || *of == "daily") {
                model.delete_local(id, gone, at_us + SECOND_US).unwrap();
            }
            local.push((made, tier));
        }
        model.measured_at_us = 0;
        model.advance(now_us);
        Self { vms: size.vms, model, vm: id }
    }

    /// Makes a world of some of the VMs.
    pub(crate) fn world(&self, numbers: Range<u32>) -> World {
        let mut world = self.model.clone();
        let hypervisors = (self.vms / VMS_PER_HYPERVISOR).max(3);
        for number in numbers {
            // No two begin alike, nor do their backups.
            let mask = u128::from((number + 1).wrapping_mul(0x9e37_79b1)) << 96 | u128::from(number + 1);
            let id = world.copy_vm(self.vm, mask).unwrap();
            let hypervisor =
                Uuid::from_u128(0x5a1c_1e66_2f3d_4b0e_9c57_0c8d_0000_0000 + u128::from(number % hypervisors));
            let alias = json!(format!("vm-{}", number + 1));
            let fields = &mut world.vms.get_mut(&id).unwrap().fields;
            fields.insert("config".to_owned(), json!({"alias": alias}));
            fields.insert("alias".to_owned(), alias);
            fields.insert("hypervisor".to_owned(), json!(hypervisor));
        }
        world.vms.remove(&self.vm);
        world
    }
}

/// The last nights, oldest first, with the tier of each and when its create is accepted.
fn nights(size: Size, now_us: i64) -> Vec<(&'static str, i64)> {
    let berlin = |day: Date| day.at(1, 0, 0, 0).in_tz("Europe/Berlin").unwrap().timestamp().as_microsecond();
    let now = Timestamp::from_microsecond(now_us).unwrap().in_tz("Europe/Berlin").unwrap();
    let night = |day: Date| {
        let tier = match (day.day(), day.weekday()) {
            (1, _) => "monthly",
            (_, Weekday::Sunday) => "weekly",
            _ => "daily",
        };
        (tier, berlin(day) + SECOND_US)
    };
    let nights = now.date().series(-1.day()).map(night).filter(|(_, at_us)| at_us + 2 * SECOND_US < now_us);
    let count = usize::try_from(size.backups).unwrap();
    let mut nights: Vec<_> = nights.skip(usize::from(size.due)).take(count).collect();
    nights.reverse();
    nights
}

/// Writes a list to a file, and returns its length in bytes.
pub(crate) fn write(path: &Path, size: Size) -> io::Result<u64> {
    let now_us = Clock::System.now_us();
    let mut cloud = Cloud::new(size, now_us);
    let token = cloud.model.sign_in("admin", now_us);
    let request = Request::new("GET", PATH)
        .with_header("accept", "application/json")
        .with_header("authorization", &format!("Bearer {token}"));
    let mut file = BufWriter::new(File::create(path)?);
    let mut bytes = 1;
    for from in (0..size.vms).step_by(usize::try_from(VMS_AT_A_TIME).unwrap()) {
        let mut world = cloud.world(from..size.vms.min(from + VMS_AT_A_TIME));
        let reply = handle(&mut world, &request, now_us).ok_or(io::ErrorKind::InvalidData)?;
        assert_eq!(reply.status, 200);
        // Each part is a list of its own: its opening bracket becomes a comma, its closing one is left out.
        file.write_all(if from == 0 { b"[" } else { b"," })?;
        file.write_all(&reply.body[1..reply.body.len() - 1])?;
        bytes += reply.body.len() - 1;
    }
    file.write_all(b"]")?;
    file.flush()?;
    Ok(u64::try_from(bytes).unwrap())
}
