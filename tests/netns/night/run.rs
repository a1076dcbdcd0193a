//! One row after the other: the fault is made, what is said is heard and timed, the fault ends, and so must what is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vxmesh::api::local::Finding;
use vxmesh::clock;
use vxmesh::types::Mono;

use super::ground::Ground;
use super::table::{At, Row, Says};
use crate::starved::Waits;

/// How soon a node says what it finds, and how soon that ends; time in which daemons had no CPU does not count.
const NODE: Duration = Duration::from_secs(30);
/// The same at management.
const MANAGEMENT: Duration = Duration::from_secs(35);
/// How long a row that wants silence is listened to.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(400);
/// How soon a lab is well before a fault is made in it.
const WELL: Duration = Duration::from_secs(90);

const fn bar(at: At) -> Duration {
    match at {
        At::Node(_) | At::Explain(..) | At::Perhaps(..) | At::Unsure(..) | At::Events(_) => NODE,
        At::Management | At::Audit | At::Screen => MANAGEMENT,
    }
}

/// What came of one row.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What did not hold.
    pub faults: Vec<String>,
    /// Lines for people.
    pub lines: Vec<String>,
}

struct Run<'a> {
    ground: &'a Ground,
    row: &'a Row,
    before: BTreeMap<At, BTreeSet<String>>,
    start: Mono,
    waits: Waits,
    /// When it was said first, and how long daemons had no CPU until then.
    heard: BTreeMap<usize, (Duration, Duration)>,
    strays: BTreeSet<(At, String, String)>,
    /// All that was said, for whoever has to find out why something else was not.
    all: BTreeSet<(At, String)>,
}

/// Runs one row on a lab that others have used before. `all`: also what is not said today is waited for.
pub fn run(ground: &Ground, row: &Row, all: bool) -> Outcome {
    ground.well(WELL);
    let before = ground.told();
    let mut outcome = Outcome::default();
    row.make.iter().for_each(|act| ground.act(act));
    let (start, waits) = (clock::mono(), Waits::read(&ground.lab));
    let mut run = Run {
        ground,
        row,
        before,
        start,
        waits,
        heard: BTreeMap::new(),
        strays: BTreeSet::new(),
        all: BTreeSet::new(),
    };
    run.listen(all);
    run.real(&mut outcome);
    run.judge(all, &mut outcome);
    row.undo.iter().for_each(|act| ground.act(act));
    run.end(&mut outcome);
    outcome
}

impl Run<'_> {
    fn since(&self) -> Duration {
        clock::mono().since(self.start)
    }

    fn starved(&self) -> Duration {
        Waits::read(&self.ground.lab).since(&self.waits)
    }

    /// Until all is said, or it is too late.
    fn listen(&mut self, all: bool) {
        let wanted = |says: &&Says| says.open.is_none();
        let latest = self.row.says.iter().filter(|says| all || wanted(says)).map(|says| bar(says.at)).max();
        let silent = !self.row.says.iter().any(|says| says.open.is_none());
        let waits = all && self.row.says.iter().any(|says| says.open.is_some());
        let least = if waits {
            MANAGEMENT
        } else if silent {
            SILENCE
        } else {
            Duration::ZERO
        };
        let limit = latest.unwrap_or(SILENCE).max(least);
        loop {
            self.look();
            let missing =
                self.row.says.iter().enumerate().any(|(n, says)| wanted(&says) && !self.heard.contains_key(&n));
            if self.since() >= limit + self.starved() || (!missing && self.since() >= least) {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What was said counts from when it was asked for: what a question takes, programs started by this test, is nobody's delay.
    fn look(&mut self) {
        let asked = self.since();
        let found = self.ground.found();
        let mut told = None;
        for (number, says) in self.row.says.iter().enumerate() {
            if self.heard.contains_key(&number) {
                continue;
            }
            let said = match says.at {
                At::Node(_) | At::Management => {
                    found.get(&says.at).is_some_and(|found| found.iter().any(|one| is(says, one)))
                }
                At::Explain(from, to) => self.ground.explain(from, to).is_some_and(|answer| {
                    let steps = answer.steps.iter().filter(|step| !step.passes);
                    !answer.may_arrive()
                        && steps.into_iter().any(|step| step.what == says.code && says.is_in(&step.text))
                }),
                At::Perhaps(from, to) => self.ground.explain(from, to).is_some_and(|answer| {
                    let mut steps = answer.steps.iter();
                    answer.may_arrive() && steps.any(|step| step.what == says.code && says.is_in(&step.text))
                }),
                At::Unsure(from, to) => self.ground.explain(from, to).is_some_and(|answer| {
                    let mut steps = answer.steps.iter();
                    !answer.arrives() && steps.any(|step| step.what == says.code && says.is_in(&step.text))
                }),
                At::Screen => {
                    let text = self.ground.screen();
                    text.lines().any(|line| line.contains(says.code) && says.is_in(line))
                }
                At::Events(_) | At::Audit => {
                    let told = told.get_or_insert_with(|| self.ground.told());
                    let mut lines = told.get(&says.at).into_iter().flatten();
                    let old = self.before.get(&says.at);
                    lines.any(|line| {
                        !old.is_some_and(|old| old.contains(line))
                            && line.split_ascii_whitespace().any(|word| word == says.code)
                            && says.is_in(line)
                    })
                }
            };
            if said {
                self.heard.insert(number, (asked, self.starved()));
            }
        }
        for (at, findings) in &found {
            self.all.extend(findings.iter().map(|one| (*at, format!("{} {}", one.code, one.what))));
            let strays = findings.iter().filter(|finding| !self.allowed(*at, &finding.code));
            let strays: Vec<_> = strays.map(|one| (*at, one.code.clone(), one.what.clone())).collect();
            self.strays.extend(strays);
        }
    }

    /// What a node may say, management may say for it.
    fn allowed(&self, at: At, code: &str) -> bool {
        let said = self.row.says.iter().map(|says| (says.at, says.code)).chain(self.row.may.iter().copied());
        let counts = |of: At| of == at || (at == At::Management && matches!(of, At::Node(_)));
        // Before it is known which direction of a plain path fails, and when one begins to answer again, it is said just so.
        let first = |codes: &str| code == "M0666" && ["M0663", "M0667"].iter().any(|later| known(codes, later));
        said.into_iter().any(|(of, codes)| !codes.is_empty() && (known(codes, code) || first(codes)) && counts(of))
    }

    /// Guests feel what is said.
    fn real(&self, outcome: &mut Outcome) {
        let answers = |(from, to): (&str, &str), tries| (0..tries).any(|_| self.ground.lab.answers(from, to));
        for pair in self.row.cut.iter().filter(|pair| answers(**pair, 3)) {
            outcome.faults.push(format!("the fault is none: {} reaches {}", pair.0, pair.1));
        }
        for pair in self.row.whole.iter().filter(|pair| !answers(**pair, 20)) {
            outcome.faults.push(format!("{} does not reach {}", pair.0, pair.1));
        }
    }

    fn judge(&self, all: bool, outcome: &mut Outcome) {
        for (number, says) in self.row.says.iter().enumerate() {
            let what = format!("{:?} {} {:?}", says.at, says.code, says.words);
            match (self.heard.get(&number), says.open) {
                (Some((after, starved)), None) if *after <= bar(says.at) + *starved => {
                    let (after, starved) = (after.as_secs_f32(), starved.as_secs_f32());
                    outcome.lines.push(format!("{after:5.1} s ({starved:4.1} s without a CPU)  {what}"));
                }
                (Some((after, starved)), None) => {
                    outcome.faults.push(format!("too late, {after:.1?}, of these {starved:.1?} without a CPU: {what}"));
                }
                (None, None) => {
                    let instead = self.all.iter().filter(|(at, _)| *at == says.at).map(|(_, said)| said);
                    let instead: Vec<&String> = instead.collect();
                    outcome.faults.push(format!("not said: {what}, but: {instead:?}"));
                }
                (None, Some(why)) if all => outcome.lines.push(format!("NOT HELD {what}: {why}")),
                (None, Some(_)) => {}
                (Some((after, _)), Some(_)) => {
                    outcome.faults.push(format!("said after {after:?}, take it off the list: {what}"));
                }
            }
        }
        for (at, code, what) in &self.strays {
            outcome.faults.push(format!("{at:?} says {code}, which is not its affair: {what}"));
        }
    }

    /// The fault is over: so is everything that was said of it.
    fn end(&self, outcome: &mut Outcome) {
        let (end, waits) = (clock::mono(), Waits::read(&self.ground.lab));
        let limit = |at: At| if at == At::Management { MANAGEMENT } else { NODE };
        let mut over;
        let late = loop {
            let asked = clock::mono().since(end);
            let found = self.ground.found();
            over = asked;
            let after = asked.saturating_sub(Waits::read(&self.ground.lab).since(&waits));
            let left = || found.iter().flat_map(|(at, found)| found.iter().map(move |one| (*at, one)));
            let deaf = self.row.says.iter().filter(|says| says.open.is_none()).any(|says| match says.at {
                At::Explain(from, to) => !self.ground.explain(from, to).is_some_and(|answer| answer.may_arrive()),
                At::Perhaps(from, to) | At::Unsure(from, to) => {
                    !self.ground.explain(from, to).is_some_and(|answer| answer.arrives())
                }
                At::Node(_) | At::Management | At::Events(_) | At::Audit | At::Screen => false,
            });
            if left().next().is_none() && !deaf && found.len() == super::NODES.len() + 1 {
                break after > MANAGEMENT;
            }
            if left().any(|(at, _)| after > limit(at)) || after > MANAGEMENT {
                let left: Vec<String> = left().map(|(at, one)| format!("{at:?} {} {}", one.code, one.what)).collect();
                let missing = super::NODES.len() + 1 - found.len();
                outcome.lines.push(format!("still said after {after:?}: {left:?}, explain {deaf}, {missing} silent"));
                break true;
            }
            std::thread::sleep(LOOK);
        };
        outcome.lines.push(format!("{:5.1} s  after its end all is well", over.as_secs_f32()));
        match (late, self.row.lasts) {
            (false, None) => {}
            (true, None) => outcome.faults.push("it is said for too long after its end".to_owned()),
            (true, Some(why)) => outcome.lines.push(format!("NOT HELD its end: {why}")),
            (false, Some(_)) => outcome.faults.push("its end is told in time, take that off the list".to_owned()),
        }
    }
}

/// One of `a|b`; any code where none is named.
fn known(codes: &str, code: &str) -> bool {
    codes.is_empty() || codes.split('|').any(|known| known == code)
}

fn is(says: &Says, finding: &Finding) -> bool {
    known(says.code, &finding.code) && says.is_in(&finding.what)
}
