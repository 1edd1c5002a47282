//! From a long case that breaks a rule to a short one that breaks the same rule: delta debugging (Zeller, Hildebrandt:
//! "Simplifying and isolating failure-inducing input", 2002) over the steps, then over what single steps say.

use super::case::{Act, Case, Step};
use super::world::{Report, play};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// A case that breaks a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case.
    pub case: Case,
    /// What it says when it breaks the rule.
    pub message: String,
    /// How many runs it took to make it so small.
    pub runs: usize,
}

thread_local! {
    /// This thread plays a case: its panic is a result, nobody has to read about it.
    static IS_PLAYING: Cell<bool> = const { Cell::new(false) };
}

/// Plays the case. Panics of threads that do so are not printed, from the first call on.
///
/// # Errors
/// What the oracle said, or the panic of the machine.
pub fn attempt(case: &Case) -> Result<Report, String> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_PLAYING.get() {
                hook(panic);
            }
        }));
    });
    IS_PLAYING.set(true);
    let result = catch(case);
    IS_PLAYING.set(false);
    result
}

fn catch(case: &Case) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| play(case))).map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => {
            other.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |text| (*text).to_owned())
        }
    })
}

/// Makes a case that fails smaller, in at most so many runs. The smaller one breaks the same rule.
pub fn shrink(case: &Case, message: &str, runs_max: usize) -> Failure {
    let failure = Failure { case: case.clone(), message: message.to_owned(), runs: 0 };
    let mut shrink = Shrink { failure, rule: rule_of(message), runs_max };
    shrink.remove_steps();
    shrink.simplify_steps();
    shrink.remove_steps();
    shrink.failure
}

/// A message without its numbers: the same rule broken in the same way.
fn rule_of(message: &str) -> String {
    message.chars().filter(|char| !char.is_ascii_digit()).take(60).collect()
}

struct Shrink {
    failure: Failure,
    rule: String,
    runs_max: usize,
}

impl Shrink {
    /// Takes the smaller case if it still fails.
    fn accept(&mut self, case: Case) -> bool {
        if self.failure.runs >= self.runs_max || case == self.failure.case {
            return false;
        }
        self.failure.runs += 1;
        match attempt(&case) {
            Err(message) if rule_of(&message) == self.rule => {
                (self.failure.case, self.failure.message) = (case, message);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn with_steps(&self, steps: Vec<Step>) -> Case {
        Case { plan: self.failure.case.plan.clone(), steps }
    }

    /// Leaves out halves, quarters and so on, down to single steps.
    fn remove_steps(&mut self) {
        let mut size = self.failure.case.steps.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < self.failure.case.steps.len() {
                let steps = &self.failure.case.steps;
                let end = (start + size).min(steps.len());
                let rest = [&steps[..start], &steps[end..]].concat();
                if !self.accept(self.with_steps(rest)) {
                    start = end;
                }
            }
            size /= 2;
        }
    }

    /// One message instead of many, small ones instead of large ones.
    fn simplify_steps(&mut self) {
        for index in 0..self.failure.case.steps.len() {
            let mut steps = self.failure.case.steps.clone();
            if let Act::Speak { count, bytes, .. } = &mut steps[index].act {
                (*count, *bytes) = (1, (*bytes).min(8));
                self.accept(self.with_steps(steps));
            }
        }
    }
}
