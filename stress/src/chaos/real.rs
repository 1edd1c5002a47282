//! Real Skynet nodes in the mix: slaves under our master that answer letters and keep a ledger.
//!
//! ```text
//!  SKYNET_DIR/skynet life-00012.conf ─► chaos.lua (real.lua): agents 0, 1, … ─► life-00012.ledger
//! ```
//!
//! A real node listens where it is dialled, so only what it dials itself goes through the proxy. It knows no order to leave:
//! it is killed instead.

use super::args::RealArgs;
use super::process::{Identity, end_with_parent};
use crate::plan::Failure;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A built Skynet: the folder with its program, `lualib`, `service`, `cservice` and `luaclib`.
pub(super) const SKYNET_DIR: &str = "SKYNET_DIR";

const AGENT: &str = include_str!("real.lua");

/// What a real node is told.
pub(super) struct Terms {
    pub(super) agents: u16,
    pub(super) seed: u64,
    pub(super) listens: SocketAddr,
    pub(super) master: SocketAddr,
}

/// Where Skynet is, if it is.
pub(super) fn skynet() -> Option<PathBuf> {
    std::env::var_os(SKYNET_DIR).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The command that starts a real node with its files in `folder`, its ledger being `ledger`.
pub(super) fn command(
    skynet: &Path,
    folder: &Path,
    ledger: &Path,
    identity: Identity,
    terms: &Terms,
) -> Result<Command, Failure> {
    let written = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| Failure::File(path.display().to_string(), error))
    };
    let config = ledger.with_extension("conf");
    written(&folder.join("chaos.lua"), AGENT)?;
    written(&config, &text(skynet, folder, ledger, identity, terms))?;
    let this =
        std::env::current_exe().map_err(|error| Failure::Member(format!("could not be started: {error}")))?;
    let mut command = Command::new(this);
    command.arg("real").arg(skynet.join("skynet")).arg(config).current_dir(folder);
    Ok(command)
}

/// Becomes a real node that ends with the process that started it.
pub(crate) fn real(args: &RealArgs) -> Result<(), Failure> {
    end_with_parent();
    let error = Command::new(&args.program).arg(&args.config).exec();
    Err(Failure::Member(format!("could not be started: {error}")))
}

fn text(skynet: &Path, folder: &Path, ledger: &Path, identity: Identity, terms: &Terms) -> String {
    let (skynet, folder, ledger) = (skynet.display(), folder.display(), ledger.display());
    let Identity { life, slot, harbor } = identity;
    let Terms { agents, seed, listens, master } = terms;
    format!(
        "thread = 2\nharbor = {harbor}\naddress = \"{listens}\"\nmaster = \"{master}\"\nstart = \"chaos\"\n\
         bootstrap = \"snlua bootstrap\"\nlualoader = \"{skynet}/lualib/loader.lua\"\n\
         luaservice = \"{skynet}/service/?.lua;{folder}/?.lua\"\nlua_path = \"{skynet}/lualib/?.lua\"\n\
         lua_cpath = \"{skynet}/luaclib/?.so\"\ncpath = \"{skynet}/cservice/?.so\"\n\
         chaos_agents = \"{agents}\"\nchaos_seed = \"{seed:#x}\"\nchaos_life = \"{life}\"\nchaos_slot = \"{slot}\"\n\
         chaos_ledger = \"{ledger}\"\n"
    )
}
