//! How fast the VM list is cut into its elements and read: some 20 MB, as a cloud of a thousand VMs sends them.
#![allow(clippy::unwrap_used, reason = "a benchmark may")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fifo_retain::fifo::{MAX_ELEMENT_BYTES, Splitter, read_vm};
use fifo_retain::inventory::Vm;
use std::fmt::Write;
use std::hint::black_box;

const VMS: u32 = 1000;
const BACKUPS_PER_VM: u32 = 55;
/// About what one read of a socket gives.
const PIECE_BYTES: usize = 16 << 10;

/// Writes a list as FiFo does since 2016.
fn list() -> String {
    let mut list = String::from("[");
    for vm in 0..VMS {
        let uuid = format!("11111111-0000-4000-8000-{vm:012}");
        let comma = if vm == 0 { "" } else { "," };
        write!(list, r#"{comma}{{"alias":"vm-{vm}","backups":{{"#).unwrap();
        for backup in 0..BACKUPS_PER_VM {
            let id = format!("bbbbbbbb-{vm:04}-4000-8000-{backup:012}");
            let comma = if backup == 0 { "" } else { "," };
            let parent = match backup {
                0 => String::new(),
                n => format!(r#""parent":"bbbbbbbb-{vm:04}-4000-8000-{:012}","#, n - 1),
            };
            write!(
                list,
                r#"{comma}"{id}":{{"comment":"daily","files":{{"{uuid}/{id}":{{"sha1":"49c74c48cedb8543b07b795d57797176deef5ed0","size":1048576}}}},"local":false,"local_size":0,{parent}"pending":true,"state":"completed","timestamp":{timestamp},"xml":true}}"#,
                timestamp = 1_795_383_407_033_533_u64 + u64::from(backup) * 86_400_000_000,
            )
            .unwrap();
        }
        write!(
            list,
            r#"}},"config":{{"alias":"vm-{vm}","autoboot":true,"brand":"kvm","nics":[{{"ip":"10.1.1.1"}}],"ram":1024}},"creating":false,"deleting":false,"hypervisor":"hv-1","metadata":{{"fifo":{{"backup":1}}}},"owner":"org-1","package":"small","state":"running","uuid":"{uuid}"}}"#
        )
        .unwrap();
    }
    list.push(']');
    list
}

fn split(list: &str, mut element: impl FnMut(&[u8])) {
    let mut splitter = Splitter::new(MAX_ELEMENT_BYTES);
    for piece in list.as_bytes().chunks(PIECE_BYTES) {
        splitter.push(piece, &mut element).unwrap();
    }
    assert_eq!(splitter.finish().unwrap(), 1000);
}

fn benchmark(criterion: &mut Criterion) {
    let list = list();
    let mut group = criterion.benchmark_group("list");
    group.throughput(Throughput::Bytes(list.len() as u64)).sample_size(20);
    group.bench_function("split", |bench| {
        bench.iter(|| {
            split(&list, |element| {
                black_box(element);
            })
        });
    });
    group.bench_function("split and read", |bench| {
        // What was read is dropped outside the measured time.
        bench.iter_batched(
            || Vec::with_capacity(VMS as usize),
            |mut vms: Vec<Vm>| {
                split(&list, |element| vms.push(read_vm(element).unwrap()));
                vms
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
