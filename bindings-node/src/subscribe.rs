//! Answers of handlers as they come from JavaScript.

use std::time::Duration;

use event_bus::{Error, ErrorKind, Finished, Outcome, Ticket};

use crate::json;

/// Columns of an answer: ticket (lower, upper half), outcome, elapsed microseconds.
const COLUMNS: usize = 4;

/// Reads `count` rows, and of some the failure.
pub(crate) fn read_answers(rows: &[i32], count: u32, failures: Option<&str>) -> Result<Vec<Finished>, Error> {
    let rows = rows
        .get(..count as usize * COLUMNS)
        .ok_or_else(|| Error::new(ErrorKind::Argument, "the count exceeds the rows"))?;
    let answers: Result<Vec<_>, Error> = rows
        .chunks_exact(COLUMNS)
        .map(|row| {
            Ok(Finished {
                ticket: Ticket(u64::from(row[0] as u32) | u64::from(row[1] as u32) << 32),
                outcome: outcome(row[2])?,
                elapsed: Duration::from_micros(u64::from(row[3] as u32)),
                failure: None,
            })
        })
        .collect();
    let mut answers = answers?;
    for (row, failure) in failures.map(json::failures).transpose()?.into_iter().flatten() {
        let answer = answers.get_mut(row);
        let answer = answer.ok_or_else(|| Error::new(ErrorKind::Argument, format!("a failure names the row {row}")))?;
        answer.failure = Some(Box::new(failure));
    }
    Ok(answers)
}

fn outcome(number: i32) -> Result<Outcome, Error> {
    match number {
        0 => Ok(Outcome::Done),
        1 => Ok(Outcome::Failed),
        2 => Ok(Outcome::Released),
        3 => Ok(Outcome::Invalid),
        4 => Ok(Outcome::Skip),
        5 => Ok(Outcome::DeadLetter),
        other => Err(Error::new(ErrorKind::Argument, format!("{other} is no outcome"))),
    }
}
