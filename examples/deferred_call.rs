//! A service that calls another one before it answers. It never waits: the rest of its work is a continuation, which runs
//! exactly once, with the reply or with the reason why there is none.

use skyharbor::prelude::*;

/// Loads an account; account 13 is a slow one.
struct Load(u32);
impl Request for Load {
    type Reply = String;
}

#[derive(Default)]
struct Accounts {
    slow: Vec<Responder<String>>,
}
impl Service for Accounts {}
impl Handler<Load> for Accounts {
    fn handle(&mut self, load: Load, ctx: &mut Context<'_, Self>) -> Reply<String> {
        if load.0 == 13 {
            let (answer, later) = ctx.defer();
            self.slow.push(answer);
            return later;
        }
        Reply::Now(format!("account {}", load.0))
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
    sessions: u32,
}
impl Service for Gate {}
impl Handler<Login> for Gate {
    fn handle(&mut self, login: Login, ctx: &mut Context<'_, Self>) -> Reply<String> {
        let (answer, later) = ctx.defer();
        ctx.call(&self.accounts, Load(login.user), millis(50), move |gate, ctx, account| match account {
            Ok(account) => {
                gate.sessions += 1;
                answer.reply(ctx, format!("session {} of {account}", gate.sessions));
            }
            Err(reason) => answer.fail(ctx, reason),
        });
        later
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let accounts = node.spawn("accounts", Accounts::default())?;
    let gate = node.spawn("gate", Gate { accounts, sessions: 0 })?;
    for user in [7, 13, 8] {
        match node.call_blocking(&gate, Login { user }, secs(1)) {
            Ok(session) => println!("user {user}: {session}"),
            Err(reason) => println!("user {user}: {reason}"),
        }
    }
    node.shutdown(secs(1))
}
