//! Accidents in user code: whatever goes wrong in one service, the calls of all others still end, and the node goes on.

use skyharbor::prelude::*;

fn node(threads: u32) -> Node {
    Node::start(Config::local().threads(threads)).expect("a local node starts")
}

struct Ask;
impl Request for Ask {
    type Reply = u32;
}

#[derive(Clone, Copy)]
enum Child {
    Refuses,
    Panics,
    Exits,
}
impl Service for Child {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        match self {
            Self::Refuses => Err(StartError::new("not today")),
            Self::Panics => panic!("on purpose"),
            Self::Exits => {
                ctx.exit();
                Ok(())
            }
        }
    }
}

/// Spawns a child that does not live, then answers.
struct Parent(Child);
impl Service for Parent {}
impl Handler<Ask> for Parent {
    fn handle(&mut self, _: Ask, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        let _ = ctx.spawn("child", self.0);
        Reply::Now(1)
    }
}

#[test]
fn a_handler_whose_spawn_fails_still_answers() {
    let node = node(1);
    for child in [Child::Refuses, Child::Panics, Child::Exits] {
        let parent = node.spawn("parent", Parent(child)).expect("it starts");
        assert_eq!(node.call_blocking(&parent, Ask, secs(3)), Ok(1));
    }
    node.shutdown(secs(5)).expect("all threads end");
}
