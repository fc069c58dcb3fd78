//! From the one stream of members to the sessions.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dataembassy_archive::{FileName, Member, inventory::LargeObjects, row_digest::HashSum};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use super::{
    Complete, LoadError, Sessions, TableLoad, TableResult,
    lane::{self, Piece, Work},
    large_objects::{self, Totals},
    table::Arrival,
};
use crate::restore::{copy::CopyError, progress::Counters};

/// Sessions that write large objects.
const OBJECT_WRITERS: usize = 2;

/// What was loaded; all of it equals the inventory.
#[derive(Debug)]
pub struct Loaded {
    /// Every table.
    pub tables: Vec<TableResult>,
    /// All large objects.
    pub large_objects: LargeObjects,
}

/// Loads all members. `files` says of a file that has neither rows nor a large object whether it belongs to the archive; `complete` is told of
/// each large table.
pub async fn load(
    sessions: Sessions,
    tables: BTreeMap<FileName, TableLoad>,
    promised_objects: Option<LargeObjects>,
    files: impl Fn(&FileName) -> bool,
    mut members: mpsc::Receiver<Result<Member, CopyError>>,
    counters: &Arc<Counters>,
    complete: mpsc::UnboundedSender<Complete>,
) -> Result<Loaded, LoadError> {
    let (done, pieces) = mpsc::unbounded_channel();
    let mut dispatch = Dispatch {
        sessions: Arc::new(sessions),
        counters: Arc::clone(counters),
        tables,
        lanes: Vec::new(),
        running: JoinSet::new(),
        done,
        pieces,
        objects: Vec::new(),
        turn: 0,
        complete,
    };
    while let Some(member) = members.recv().await {
        if let Err(error) = dispatch.take(member?, &files).await {
            return Err(dispatch.reason(error).await);
        }
    }
    dispatch.finish(promised_objects).await
}

struct Dispatch {
    sessions: Arc<Sessions>,
    counters: Arc<Counters>,
    tables: BTreeMap<FileName, TableLoad>,
    lanes: Vec<Lane>,
    running: JoinSet<Result<(), LoadError>>,
    done: mpsc::UnboundedSender<Piece>,
    pieces: mpsc::UnboundedReceiver<Piece>,
    objects: Vec<ObjectWriter>,
    /// Counts members: a lane remembers its last one's.
    turn: u64,
    complete: mpsc::UnboundedSender<Complete>,
}

struct Lane {
    work: mpsc::Sender<Work>,
    open: Option<OpenRange>,
    last_turn: u64,
}

struct OpenRange {
    file: FileName,
    range: u32,
    at_row_end: bool,
}

struct ObjectWriter {
    work: mpsc::Sender<(u32, Member)>,
    task: JoinHandle<Result<Totals, LoadError>>,
}

impl Dispatch {
    async fn take(&mut self, member: Member, files: &impl Fn(&FileName) -> bool) -> Result<(), LoadError> {
        self.turn += 1;
        self.count_pieces();
        let file = member.name.file().clone();
        if let Some(table) = self.tables.get_mut(&file) {
            return match table.arrive(member)? {
                Arrival::End => Ok(()),
                Arrival::Whole(rows) => self.rows(&file, 0, rows, true).await,
                Arrival::Rows { range, body, last } => self.rows(&file, range, body, last).await,
            };
        }
        match large_objects::oid(&file) {
            Some(oid) => self.object(oid, member).await,
            None if files(&file) => Ok(()),
            None => Err(LoadError::Unknown(file)),
        }
    }

    async fn rows(&mut self, file: &FileName, range: u32, body: Bytes, last: bool) -> Result<(), LoadError> {
        let place = self.lane_of(file, range).await?;
        let at_row_end = body.last().is_none_or(|byte| *byte == b'\n');
        let lane = &mut self.lanes[place];
        lane.last_turn = self.turn;
        lane.give(Work::Rows(body)).await?;
        if last {
            return lane.end().await;
        }
        if let Some(open) = &mut lane.open {
            open.at_row_end = at_row_end;
        }
        Ok(())
    }

    /// The lane in which a range is open, or one in which it is begun.
    async fn lane_of(&mut self, file: &FileName, range: u32) -> Result<usize, LoadError> {
        let holds = |lane: &Lane| {
            let open = lane.open.as_ref();
            open.is_some_and(|open| open.file == *file && open.range == range)
        };
        if let Some(place) = self.lanes.iter().position(holds) {
            return Ok(place);
        }
        let place = match self.free_lane() {
            Some(place) => place,
            None => match self.longest_unused() {
                Some(place) => {
                    self.lanes[place].end().await?;
                    place
                }
                // Every open range is in the middle of a huge row.
                None => self.add_lane(),
            },
        };
        let table = &self.tables[file];
        let begin = Work::Begin {
            file: file.clone(),
            table: table.name.clone(),
            statement: table.statement.clone(),
        };
        let lane = &mut self.lanes[place];
        lane.open = Some(OpenRange {
            file: file.clone(),
            range,
            at_row_end: true,
        });
        lane.give(begin).await?;
        Ok(place)
    }

    /// A lane without an open range, the one with the least waiting; a new one rather than one that is busy.
    fn free_lane(&mut self) -> Option<usize> {
        let free = (0..self.lanes.len())
            .filter(|place| self.lanes[*place].open.is_none())
            .max_by_key(|place| self.lanes[*place].work.capacity());
        match free {
            Some(place) if self.lanes[place].is_idle() => Some(place),
            _ if self.lanes.len() < self.sessions.jobs => Some(self.add_lane()),
            busy => busy,
        }
    }

    fn longest_unused(&self) -> Option<usize> {
        let at_row_end = |lane: &Lane| lane.open.as_ref().is_some_and(|open| open.at_row_end);
        (0..self.lanes.len())
            .filter(|place| at_row_end(&self.lanes[*place]))
            .min_by_key(|place| self.lanes[*place].last_turn)
    }

    fn add_lane(&mut self) -> usize {
        let (work, receiver) = lane::channel();
        let (sessions, counters) = (Arc::clone(&self.sessions), Arc::clone(&self.counters));
        self.running
            .spawn(lane::run(sessions, receiver, self.done.clone(), counters));
        self.lanes.push(Lane {
            work,
            open: None,
            last_turn: 0,
        });
        self.lanes.len() - 1
    }

    async fn object(&mut self, oid: u32, member: Member) -> Result<(), LoadError> {
        while self.objects.len() < OBJECT_WRITERS {
            let (work, receiver) = large_objects::channel();
            let (sessions, counters) = (Arc::clone(&self.sessions), Arc::clone(&self.counters));
            let task = tokio::spawn(large_objects::run(sessions, receiver, counters));
            self.objects.push(ObjectWriter { work, task });
        }
        let writer = &self.objects[oid as usize % OBJECT_WRITERS];
        writer
            .work
            .send((oid, member))
            .await
            .map_err(|_| LoadError::Interrupted)
    }

    fn count_pieces(&mut self) {
        while let Ok(piece) = self.pieces.try_recv() {
            if let Some(table) = self.tables.get_mut(&piece.file) {
                table.count(piece.digest);
                if let Some(complete) = table.complete() {
                    // Where nobody listens any more, its failure is told at the end.
                    let _ = self.complete.send(complete);
                }
            }
        }
    }

    /// A closed channel only says that somebody failed: who did says why.
    async fn reason(mut self, error: LoadError) -> LoadError {
        if !matches!(error, LoadError::Interrupted) {
            return error;
        }
        self.lanes.clear();
        while let Some(ended) = self.running.join_next().await {
            if let Ok(Err(reason)) = ended {
                return reason;
            }
        }
        for ObjectWriter { work, task } in self.objects {
            drop(work);
            if let Ok(Err(reason)) = task.await {
                return reason;
            }
        }
        error
    }

    async fn finish(mut self, promised: Option<LargeObjects>) -> Result<Loaded, LoadError> {
        // A range that is still open has members missing: its table says so.
        self.lanes.clear();
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(|_| LoadError::Interrupted)??;
        }
        self.count_pieces();
        let mut totals = Totals::default();
        for ObjectWriter { work, task } in self.objects {
            drop(work);
            totals.add(task.await.map_err(|_| LoadError::Interrupted)??);
        }
        let large_objects = compare(totals, promised)?;
        let tables = self.tables.values().map(TableLoad::finish);
        Ok(Loaded {
            tables: tables.collect::<Result<_, _>>()?,
            large_objects,
        })
    }
}

fn compare(totals: Totals, promised: Option<LargeObjects>) -> Result<LargeObjects, LoadError> {
    let none = LargeObjects {
        objects: 0,
        bytes: 0,
        digest: HashSum::default(),
    };
    let promised = promised.unwrap_or(none);
    let found = LargeObjects {
        objects: totals.objects,
        bytes: totals.bytes,
        digest: HashSum(totals.sum),
    };
    if found == promised {
        return Ok(found);
    }
    Err(LoadError::WrongObjects(format!(
        "{} objects of {} bytes instead of {} of {}, or their digest differs",
        found.objects, found.bytes, promised.objects, promised.bytes
    )))
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.work.capacity() == self.work.max_capacity()
    }

    async fn give(&self, work: Work) -> Result<(), LoadError> {
        self.work.send(work).await.map_err(|_| LoadError::Interrupted)
    }

    async fn end(&mut self) -> Result<(), LoadError> {
        self.open = None;
        self.give(Work::End).await
    }
}
