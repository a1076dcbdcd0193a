//! Makes a lab: wires first, then the programs; a lab that fails half way is taken away again.

use super::layout::{Layout, Shape};
use super::progress::Progress;
use super::state::{Home, Lock, State};
use super::{LabError, daemons, down, wires};
use crate::api::problem::{Exit, Problem};

/// A lab under this program's hands.
#[derive(Debug)]
pub struct Lab {
    /// Its folder.
    pub home: Home,
    /// What is known of it.
    pub state: State,
    lock: Lock,
}

/// Makes a lab and leaves it running.
///
/// # Errors
/// Conflict where it is up already; anything that a step says. Nothing is left behind then.
pub fn up(shape: &Shape, wires_only: bool, progress: &Progress) -> Result<State, LabError> {
    let mut lab = Lab::build(shape, wires_only, progress)?;
    if wires_only {
        return Ok(lab.state);
    }
    match lab.start(progress) {
        Ok(()) => Ok(lab.state),
        Err(error) => Err(lab.give_up(error, progress)),
    }
}

impl Lab {
    /// Namespaces and wires.
    ///
    /// # Errors
    /// As [`up`].
    pub fn build(shape: &Shape, wires_only: bool, progress: &Progress) -> Result<Self, LabError> {
        let layout = shape.layout()?;
        let home = Home::of(&layout.name);
        let lock = clear_ground(&home, progress)?;
        if let Err(error) = wires::refuse_foreign(&layout) {
            // The folder was made for the lock alone.
            let _ = std::fs::remove_dir(home.folder());
            return Err(error);
        }
        let state = State { layout, ready: false, wires_only, guest_mtu: None };
        home.write(&state)?;
        let mut lab = Self { home, state, lock };
        if let Err(error) = lab.wire(progress) {
            return Err(lab.give_up(error, progress));
        }
        Ok(lab)
    }

    fn wire(&mut self, progress: &Progress) -> Result<(), LabError> {
        let layout = &self.state.layout;
        wires::build(layout, progress)?;
        progress.say(format!(
            "{} namespaces, {} wires, {} guests",
            layout.namespaces().len(),
            layout.wires.len(),
            layout.guests().count()
        ));
        if self.state.wires_only {
            self.state.ready = true;
            self.home.write(&self.state)?;
        }
        Ok(())
    }

    /// Management, enrolment, daemons, guests.
    ///
    /// # Errors
    /// What a step says; the lab stays as it is then.
    pub fn start(&mut self, progress: &Progress) -> Result<(), LabError> {
        let mtu = daemons::start(&self.home, &self.state.layout, progress)?;
        self.state.guest_mtu = Some(mtu);
        self.state.ready = true;
        self.home.write(&self.state)
    }

    /// Takes the lab away because of `error`, after showing the last lines of the logs.
    pub fn give_up(self, error: LabError, progress: &Progress) -> LabError {
        // Ctrl-C also ends the command that was running; its error is not the user's concern.
        let error = progress.go_on().err().unwrap_or(error);
        if !matches!(error, LabError::Interrupted) {
            daemons::tell_logs(&self.home, progress);
        }
        self.remove(progress).err().unwrap_or(error)
    }

    /// Takes the lab away.
    ///
    /// # Errors
    /// As [`down::down`].
    pub fn remove(self, progress: &Progress) -> Result<(), LabError> {
        down::remove(&self.home, self.lock, progress)?;
        progress.say("everything is removed");
        Ok(())
    }

    /// Names and addresses.
    pub const fn layout(&self) -> &Layout {
        &self.state.layout
    }
}

/// Takes the lock; refuses a lab that is up; removes what a crash left.
fn clear_ground(home: &Home, progress: &Progress) -> Result<Lock, LabError> {
    let lock = home.lock()?;
    match home.read() {
        Some(state) if state.ready => Err(is_up(home).into()),
        Some(_) => {
            progress.say(format!("removing what is left of an unfinished lab '{}'", home.name()));
            down::remove(home, lock, progress)?;
            home.lock()
        }
        None if !wires::namespaces_with_prefix(home.name()).is_empty() => {
            // Namespaces with our mark but without records, for example after /run was emptied.
            down::remove(home, lock, progress)?;
            home.lock()
        }
        None => Ok(lock),
    }
}

fn is_up(home: &Home) -> Problem {
    Problem::new("M0659", Exit::Conflict, format!("lab '{}' is up already", home.name()))
        .note("nothing was changed")
        .help(format!("look at it: {}", home.hint("status")))
        .help(format!("take it down: {}", home.hint("down")))
        .help("or have a second one beside it: meshctl lab up --name NAME")
}
