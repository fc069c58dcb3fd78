//! Whoever has sealed objects and no key changes one thing in them: the reader says so, and gives nothing out as if it were whole.

use std::thread;

use bytes::Bytes;
use dataembassy_archive::inventory::{InventoryReader, InventoryWriter};
use dataembassy_archive::{CompressionLevel, CopyKey, SegmentPosition};

use crate::inventories::{header, lines};
use crate::sample::{members, read, write};

/// How many changes are made, one at a time, each to the objects as they were.
const CHANGES: u64 = 60_000;
const KINDS: [&str; 5] = ["flip", "cut", "extend", "mix", "take for another"];

/// What reading may add to the memory that the process holds, in KiB, however often it is done. Other tests run beside it.
const GROWTH: u64 = 256 * 1024;

/// The most that this process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Two segments and an inventory, sealed with one key.
struct Sealed {
    key: CopyKey,
    objects: [Bytes; 3],
}

/// The place of the inventory among the objects.
const INVENTORY: usize = 2;

impl Sealed {
    fn new() -> Self {
        let key = CopyKey::generate();
        let segments = [SegmentPosition::Inner, SegmentPosition::Last];
        let [first, second] = segments.map(|position| write(&key, &members(), position));
        let level = CompressionLevel::DEFAULT;
        let mut writer = InventoryWriter::new(&key.recipient(), level, header()).unwrap();
        for line in lines() {
            assert!(writer.push(&line).unwrap().is_none(), "one part has room for it");
        }
        let inventory = writer.finish().unwrap().bytes;
        let objects = [first, second, inventory];
        Self { key, objects }
    }

    /// Reads one object to its end, as what stands at its place.
    fn reads(&self, place: usize, bytes: &[u8]) -> bool {
        if place == INVENTORY {
            return self.reads_inventory(bytes).is_some();
        }
        let expected = [SegmentPosition::Inner, SegmentPosition::Last][place];
        read(&self.key, bytes).is_ok_and(|(_, position)| position == expected)
    }

    fn reads_inventory(&self, bytes: &[u8]) -> Option<()> {
        let mut reader = InventoryReader::new(&self.key);
        let mut part = reader.part(bytes).ok()?;
        while part.next_line().ok()?.is_some() {}
        reader.finish().ok().map(drop)
    }
}

/// A row of numbers that is the same for the same seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % count as u64).unwrap()
    }
}

/// The kind of a seed's change, the place that it is made at, and what stands there afterwards.
fn change(copy: &Sealed, another: &Sealed, seed: u64) -> (&'static str, usize, Vec<u8>) {
    let mut dice = Dice(seed);
    let kind = KINDS[dice.below(KINDS.len())];
    let place = dice.below(copy.objects.len());
    let mut bytes = copy.objects[place].to_vec();
    match kind {
        "flip" => {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        "cut" => bytes.truncate(dice.below(bytes.len())),
        "extend" => {
            for _ in 0..=dice.below(16) {
                bytes.push(u8::try_from(dice.below(256)).unwrap());
            }
        }
        "mix" => bytes = another.objects[place].to_vec(),
        _ => {
            let other = (place + 1 + dice.below(copy.objects.len() - 1)) % copy.objects.len();
            bytes = copy.objects[other].to_vec();
        }
    }
    (kind, place, bytes)
}

#[test]
fn every_single_change_to_what_is_sealed_is_found() {
    let (copy, another) = (Sealed::new(), Sealed::new());
    for (place, object) in copy.objects.iter().enumerate() {
        assert!(copy.reads(place, object), "object {place} as it is");
    }
    let before = peak();
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let counts: Vec<[u64; KINDS.len()]> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let (copy, another) = (&copy, &another);
                let seeds = (worker..CHANGES).step_by(usize::try_from(workers).unwrap());
                scope.spawn(move || try_all(copy, another, seeds))
            })
            .collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for (place, kind) in KINDS.iter().enumerate() {
        let count: u64 = counts.iter().map(|counts| counts[place]).sum();
        assert!(count > 1_000, "{kind} was tried {count} times only");
    }
    let grown = peak() - before;
    assert!(grown <= GROWTH, "reading took {grown} KiB more and more");
}

/// Makes the changes of these seeds, and counts them by their kind.
fn try_all(copy: &Sealed, another: &Sealed, seeds: impl Iterator<Item = u64>) -> [u64; KINDS.len()] {
    let mut counts = [0; KINDS.len()];
    for seed in seeds {
        let (kind, place, bytes) = change(copy, another, seed);
        assert!(
            !copy.reads(place, &bytes),
            "seed {seed}: {kind} of object {place} was not found"
        );
        counts[KINDS.iter().position(|known| *known == kind).unwrap()] += 1;
    }
    counts
}
