//! A schedule: one course of one or more resources, with faults that a seed chooses; after the last of them the wanted state within so many
//! rounds, and then no write. What must never be is looked at after every step.

use std::time::Duration;

use dataembassy_operator::settings::Side;
use jiff::SignedDuration;
use kube::Client;

use super::cluster::{Change, Place};
use super::operator::Operator;
use super::tally::{Fault, Tally};
use super::world::{Shared, World};

/// How many steps the part with faults has at most.
const STEPS: usize = 30;
/// How many rounds without a write show that it is settled, and how many must follow without one.
const CALM: usize = 3;

/// What is explored: resources, who else lives beside them, what is wanted, and what must never be.
pub(crate) trait Course {
    /// What it is called.
    const NAME: &'static str;
    /// Where the operator runs.
    const SIDE: Side;
    /// The kinds that are reconciled.
    const KINDS: &'static [&'static str];
    /// Within how many rounds after the last fault it must be settled.
    const ROUNDS: usize;
    /// Kinds whose watch may lose something.
    const LOST: &'static [&'static str];

    /// What there is at the beginning.
    fn begin(world: &mut World) -> Self;

    /// The others do their part: all of it, or in a hurry what chance picks.
    fn live(&mut self, world: &mut World, is_hurried: bool);

    /// A person, or an accident, interferes; never after the last fault.
    fn interfere(&mut self, world: &mut World);

    /// What the operator is told beside watches and polls.
    fn tell(&mut self, _world: &World, _operator: &Operator) {}

    /// Whether a change is one that may be.
    fn judge(&mut self, world: &World, change: &Change) -> Result<(), String>;

    /// Once it was settled, something else may come that is to be settled too; whether it does.
    fn afterwards(&mut self, _world: &mut World) -> bool {
        false
    }

    /// Whether all is as wanted; if not, what is missing.
    fn is_wanted(&self, world: &World) -> Result<(), String>;
}

/// What came of a schedule.
pub(crate) struct Followed {
    /// What happened, if somebody wants to read it.
    pub(crate) story: Vec<String>,
    pub(crate) tally: Tally,
    pub(crate) outcome: Result<(), String>,
}

/// Follows one schedule; its story is told if somebody wants to read it.
pub(crate) async fn follow<C: Course>(seed: u64, is_told: bool) -> Followed {
    let world = Shared::new(seed, is_told);
    let client = world.client();
    let course = C::begin(&mut world.lock());
    let mut walk = Walk {
        operator: Operator::begin(&world, client.clone(), C::SIDE, C::KINDS),
        judged: 0,
        client,
        course,
        world,
    };
    let outcome = match walk.with_faults().await {
        Ok(()) => walk.in_peace().await,
        Err(violation) => Err(violation),
    };
    let mut world = walk.world.lock();
    world.tally.schedules = 1;
    Followed {
        story: world.story.take().unwrap_or_default(),
        tally: std::mem::take(&mut world.tally),
        outcome,
    }
}

struct Walk<C> {
    world: Shared,
    client: Client,
    operator: Operator,
    course: C,
    /// How many changes were judged.
    judged: usize,
}

impl<C: Course> Walk<C> {
    async fn with_faults(&mut self) -> Result<(), String> {
        let steps = {
            let mut world = self.world.lock();
            world.faults = 1 + world.random.below(4);
            5 + world.random.below(STEPS)
        };
        for _ in 0..steps {
            self.step().await;
            self.judge()?;
            if self.world.lock().faults == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Something happens.
    async fn step(&mut self) {
        let choice = self.world.lock().random.below(16);
        match choice {
            0..6 => {
                // Most of the time what is due; sometimes an event comes twice, or for nothing.
                let due = self.operator.due(self.world.lock().elapsed);
                let is_for_nothing = due.is_empty();
                let among = if is_for_nothing { self.all() } else { due };
                if !among.is_empty() {
                    if is_for_nothing {
                        self.world.lock().tally.count(Fault::DuplicateEvent);
                    }
                    let chosen = self.world.lock().random.below(among.len());
                    self.reconcile(&among[chosen]).await;
                }
            }
            6..10 => {
                let world = self.world.clone();
                let is_let_through = |_: &str| !world.lock().random.one_in(3);
                self.operator.deliver(&self.world, is_let_through);
            }
            10..13 => self.course.live(&mut self.world.lock(), true),
            13..15 => {
                let mut world = self.world.lock();
                let length = world.random.choose(&[1, 4, 20, 61]);
                world.pass(Duration::from_secs(length));
            }
            _ => self.fault(),
        }
    }

    async fn reconcile(&mut self, place: &Place) {
        self.course.tell(&self.world.lock(), &self.operator);
        self.operator.reconcile(&self.world, place).await;
        let is_dead = self.world.lock().is_dead;
        if is_dead {
            self.begin_anew();
            // What was on its way when the lease was lost arrives while the next one works.
            let due = self.operator.due(self.world.lock().elapsed);
            if let Some(place) = due.first().filter(|_| self.world.lock().random.one_in(2)) {
                self.course.tell(&self.world.lock(), &self.operator);
                self.operator.reconcile(&self.world, place).await;
            }
            self.world.lock().land();
            if self.world.lock().is_dead {
                self.begin_anew();
                self.world.lock().land();
            }
        }
    }

    fn begin_anew(&mut self) {
        self.world
            .lock()
            .tell_story(|| "another operator begins".to_owned());
        self.operator = Operator::begin(&self.world, self.client.clone(), C::SIDE, C::KINDS);
    }

    /// A fault that strikes no request.
    fn fault(&mut self) {
        let mut world = self.world.lock();
        if world.faults == 0 {
            return;
        }
        world.faults -= 1;
        match world.random.below(8) {
            0 => {
                world.tally.count(Fault::Restart);
                drop(world);
                self.begin_anew();
            }
            1 => {
                let kind = world.random.choose(C::LOST);
                world.tell_story(|| format!("fault: the watch of {kind} loses what comes"));
                let lost = self.operator.watches.lose(kind);
                world.tally.count_many(Fault::MissedEvent, lost);
            }
            2 => {
                drop(world);
                self.operator.mend(&self.world);
            }
            3 | 4 => {
                let hours = world.random.choose(&[-87_600, -25, -1, 1, 25, 87_600]);
                world.tell_story(|| format!("fault: the clock is off by {hours} hours"));
                world.now = world.now.checked_add(SignedDuration::from_hours(hours)).unwrap();
                world.tally.count(Fault::ClockJump);
            }
            _ => {
                world.tally.count(Fault::Interference);
                self.course.interfere(&mut world);
            }
        }
    }

    /// After the last fault.
    async fn in_peace(&mut self) -> Result<(), String> {
        {
            let mut world = self.world.lock();
            world.tell_story(|| "no more faults".to_owned());
            world.faults = 0;
            world.now = world.cluster.now;
        }
        self.operator.mend(&self.world);
        self.settles().await?;
        while self.course.afterwards(&mut self.world.lock()) {
            self.settles().await?;
        }
        Ok(())
    }

    /// It becomes as wanted, and stays so.
    async fn settles(&mut self) -> Result<(), String> {
        let mut calm = 0;
        // A clock that was off has told the operator when to look next, which may be tomorrow. What it had put down by that clock it may correct
        // then, once; nobody waits here until tomorrow.
        let mut is_corrected = !self.world.lock().tally.has(Fault::ClockJump);
        for _ in 0..C::ROUNDS {
            let before = self.world.lock().writes;
            self.round().await;
            self.judge()?;
            let is_calm = {
                let world = self.world.lock();
                world.writes == before && self.course.is_wanted(&world).is_ok()
            };
            calm = if is_calm { calm + 1 } else { 0 };
            if calm == CALM && !is_corrected {
                is_corrected = true;
                self.look_at_all().await;
                self.judge()?;
                if self.world.lock().writes > before {
                    calm = 0;
                }
            }
            if calm == CALM {
                return self.stays_calm().await;
            }
        }
        let what = self.course.is_wanted(&self.world.lock());
        Err(what
            .err()
            .unwrap_or_else(|| "it is as wanted, and is written on and on".to_owned()))
    }

    /// Everybody does what is to be done; where nobody has anything to do, time passes until somebody has.
    async fn round(&mut self) {
        self.operator.deliver(&self.world, |_| true);
        let elapsed = self.world.lock().elapsed;
        let mut due = self.operator.due(elapsed);
        if due.is_empty() {
            let next = self.operator.next_timer().unwrap_or(elapsed);
            self.world
                .lock()
                .pass(next.saturating_sub(elapsed).min(Duration::from_mins(1)));
            due = self.operator.due(self.world.lock().elapsed);
        }
        for place in due {
            self.course.tell(&self.world.lock(), &self.operator);
            self.operator.reconcile(&self.world, &place).await;
        }
        self.course.live(&mut self.world.lock(), false);
    }

    /// Nothing is written any more, whoever looks again, or begins anew.
    async fn stays_calm(&mut self) -> Result<(), String> {
        let before = self.world.lock().writes;
        for look in 0..CALM {
            if look == 1 {
                self.begin_anew();
            }
            self.look_at_all().await;
            self.world.lock().pass(Duration::from_millis(500));
            self.judge()?;
        }
        let written = self.world.lock().writes - before;
        if written > 0 {
            return Err(format!(
                "it was settled, and was written {written} times by those who looked again"
            ));
        }
        self.course.is_wanted(&self.world.lock())
    }

    /// Every resource is looked at, due or not.
    async fn look_at_all(&mut self) {
        for place in self.all() {
            self.course.tell(&self.world.lock(), &self.operator);
            self.operator.reconcile(&self.world, &place).await;
        }
    }

    /// The resources that are reconciled.
    fn all(&self) -> Vec<Place> {
        let world = self.world.lock();
        let all = C::KINDS.iter().flat_map(|kind| world.cluster.of_kind(kind));
        all.map(|(place, _)| place.clone()).collect()
    }

    /// Judges every change that nobody has judged yet.
    fn judge(&mut self) -> Result<(), String> {
        let world = self.world.lock();
        for change in &world.cluster.changes[self.judged..] {
            self.course.judge(&world, change)?;
        }
        self.judged = world.cluster.changes.len();
        Ok(())
    }
}
