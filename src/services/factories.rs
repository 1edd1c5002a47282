//! Which services can be launched by name, and how.

use super::launcher::Launcher;
use super::{Echo, Kv};
use crate::message::Handle;
use crate::runtime::{Context, Service, Spawn, SpawnError, StartError};
use crate::seri::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Makes a service of the arguments of its launch and spawns it.
pub(super) type Factory =
    dyn Fn(&mut Context<'_, Launcher>, Launch<'_>) -> Result<Handle, SpawnError> + Send + Sync;

/// What a factory is given.
pub(super) struct Launch<'a> {
    pub(super) label: &'a str,
    pub(super) options: Spawn,
    pub(super) arguments: &'a [Value],
}

/// The services that can be launched by name, from any node of a cluster: `echo`, `kv`, and what a program adds.
///
/// ```
/// use skyharbor::prelude::*;
/// use skyharbor::seri::Value;
/// use skyharbor::services::Factories;
///
/// struct Room { players_max: i64 }
/// impl Service for Room {}
///
/// let mut factories = Factories::default();
/// // In Lua: skynet.uniqueservice(true, "room", 64)
/// factories.add("room", |arguments| match arguments.first().and_then(Value::as_int) {
///     Some(players_max) => Ok(Room { players_max }),
///     None => Err(StartError::new("a room wants to know how many players it takes")),
/// });
/// assert!(factories.contains("room") && factories.contains("kv"));
/// ```
#[derive(Clone, Default)]
pub struct Factories {
    added: BTreeMap<Box<str>, Arc<Factory>>,
}

impl Factories {
    /// Lets `factory` make the services that are launched as `name`, in place of who made them before. It gets the arguments
    /// of the launch behind the name; its refusal, or that of the service's `start`, is told to who wanted it.
    pub fn add<S, F>(&mut self, name: &str, factory: F)
    where
        S: Service,
        F: Fn(&[Value]) -> Result<S, StartError> + Send + Sync + 'static,
    {
        let factory = move |ctx: &mut Context<'_, Launcher>, launch: Launch<'_>| {
            let service = factory(launch.arguments)?;
            ctx.spawn_with(launch.label, launch.options, move || service).map(|service| service.handle())
        };
        self.added.insert(name.into(), Arc::new(factory));
    }

    /// Whether such services can be launched.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name.as_bytes()).is_some()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Factory>> {
        let name = std::str::from_utf8(name).ok()?;
        self.added.get(name).cloned().or_else(|| match name {
            "echo" => Some(Arc::new(|ctx: &mut Context<'_, Launcher>, launch: Launch<'_>| {
                ctx.spawn_with(launch.label, launch.options, || Echo).map(|echo| echo.handle())
            })),
            "kv" => Some(Arc::new(|ctx: &mut Context<'_, Launcher>, launch: Launch<'_>| {
                ctx.spawn_with(launch.label, launch.options, Kv::default).map(|kv| kv.handle())
            })),
            _ => None,
        })
    }
}

/// The same factories under the same names.
impl PartialEq for Factories {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.added.iter().zip(&other.added);
        self.added.len() == other.added.len()
            && pairs.all(|((name, factory), (other_name, other))| {
                name == other_name && Arc::ptr_eq(factory, other)
            })
    }
}

impl Eq for Factories {}

impl fmt::Debug for Factories {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.added.keys()).finish()
    }
}
