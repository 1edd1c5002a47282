//! A call inside a service: its continuation needs no annotations.

use skyharbor::prelude::*;

struct Load(u32);
impl Request for Load {
    type Reply = u64;
}

struct Accounts;
impl Service for Accounts {}
impl Handler<Load> for Accounts {
    fn handle(&mut self, load: Load, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(u64::from(load.0) * 100)
    }
}

struct Login {
    user: u32,
}
impl Request for Login {
    type Reply = String;
}

struct Gate {
    accounts: Addr<Accounts>,
    opened: u32,
}
impl Service for Gate {}
impl Gate {
    fn open(&mut self, account: u64) -> String {
        self.opened += 1;
        format!("session {} of account {account}", self.opened)
    }
}
impl Handler<Login> for Gate {
    fn handle(&mut self, login: Login, ctx: &mut Context<'_, Self>) -> Reply<String> {
        let (answer, later) = ctx.defer();
        ctx.call(&self.accounts, Load(login.user), secs(5), move |gate, ctx, account| match account {
            Ok(account) => answer.reply(ctx, gate.open(account)),
            Err(reason) => answer.fail(ctx, reason),
        });
        later
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let accounts = node.spawn("accounts", Accounts)?;
    let gate = node.spawn("gate", Gate { accounts, opened: 0 })?;
    let session = node.call_blocking(&gate, Login { user: 7 }, secs(5))?;
    assert_eq!(session, "session 1 of account 700");
    node.shutdown(secs(1))
}
