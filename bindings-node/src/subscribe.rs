//! Answers of handlers as they come from JavaScript.

use std::time::Duration;

use event_bus::{Error, ErrorKind, Finished, Outcome, Ticket};

/// Columns of an answer: ticket (lower, upper half), outcome, elapsed microseconds.
const COLUMNS: usize = 4;

/// Reads `count` rows.
pub(crate) fn read_answers(rows: &[i32], count: u32) -> Result<Vec<Finished>, Error> {
    let rows = rows
        .get(..count as usize * COLUMNS)
        .ok_or_else(|| Error::new(ErrorKind::Argument, "the count exceeds the rows"))?;
    rows.chunks_exact(COLUMNS)
        .map(|row| {
            Ok(Finished {
                ticket: Ticket(u64::from(row[0] as u32) | u64::from(row[1] as u32) << 32),
                outcome: outcome(row[2])?,
                elapsed: Duration::from_micros(u64::from(row[3] as u32)),
                failure: None,
            })
        })
        .collect()
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
