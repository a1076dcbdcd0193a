//! The log: one line an event, on standard error, where systemd or the lab takes it from.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::config::Level;
use crate::linux::journal::Journal;

/// Changes the level while the program runs; the default one changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Log(Option<Handle<EnvFilter, Registry>>);

/// Starts logging at `level`. Only our own lines go below warnings. A second call in one process changes nothing.
pub fn start(level: Level) -> Log {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(Journal).with_ansi(false).with_target(false);
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Log(started.ok().map(|()| handle))
}

fn filter(level: Level) -> EnvFilter {
    EnvFilter::new(format!("warn,vxmesh={0},meshd={0},meshmgr={0}", level.word()))
}

impl Log {
    /// From now on this level.
    pub fn set(&self, level: Level) {
        if let Some(handle) = &self.0 {
            // Fails only where the subscriber is gone, and then there is nothing to set.
            let _ = handle.reload(filter(level));
        }
    }
}
