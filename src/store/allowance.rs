//! What of the daily quota of each key was given to gateways: each uses up its part, and all together never more.

use super::Store;
use super::fault::StoreError;
use super::sql::Session;

/// A gateway asks for a part of a day's quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The key.
    pub name: String,
    /// The day, counted from 1970-01-01, in UTC.
    pub day: u64,
    /// The quota.
    pub most: u64,
    /// How much is wanted.
    pub more: u64,
    /// What was used before it was given, and counts in any case.
    pub overdrawn: u64,
}

/// What a gateway is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// The day: a later one than was asked for where somebody has begun it already.
    pub day: u64,
    /// How much of it is given to all together, with this.
    pub total: u64,
    /// How much of it is this.
    pub granted: u64,
}

impl Store {
    /// Gives out parts of daily quotas, as much as is left of each, in the order of the asks: durable when it returns.
    pub async fn allot(&self, asks: &[Ask]) -> Result<Vec<Given>, StoreError> {
        let allotted = async {
            let mut session = self.change().await?;
            let mut given = Vec::with_capacity(asks.len());
            for ask in asks {
                given.push(allot(&mut session, ask).await?);
            }
            session.commit().await?;
            Ok(given)
        };
        self.heed(allotted.await)
    }

    /// Takes back what was given of days and not used: key, day, count.
    pub async fn give_back(&self, rests: &[(String, u64, u64)]) -> Result<(), StoreError> {
        if rests.is_empty() {
            return Ok(());
        }
        let returned = async {
            let Some(mut session) = self.change_known().await? else { return Ok(()) };
            let text = "UPDATE cg_allowances SET given = given - $3 WHERE name = $1 AND day = $2 AND given >= $3";
            for (name, day, count) in rests {
                session.rows(text, vec![name.as_str().into(), (*day).into(), (*count).into()]).await?;
            }
            session.commit().await
        };
        self.heed(returned.await)
    }

    /// What was given of days: key, day, count.
    pub async fn allowances(&self) -> Result<Vec<(String, u64, u64)>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let rows = self.heed(session.rows("SELECT name, day, given FROM cg_allowances", Vec::new()).await)?;
        rows.iter().map(|row| Ok((row.text(0)?, row.count(1)?, row.count(2)?))).collect()
    }
}

async fn allot(session: &mut Session, ask: &Ask) -> Result<Given, StoreError> {
    // Whoever else asks for the same key waits from here on.
    let text = "INSERT INTO cg_allowances (name, day, given) VALUES ($1, $2, 0) \
                ON CONFLICT (name) DO UPDATE SET given = cg_allowances.given RETURNING day, given";
    let row = session.row(text, vec![ask.name.as_str().into(), ask.day.into()]).await?;
    let row = row.ok_or_else(|| StoreError::corrupt("an allowance was written and is not there"))?;
    let (day, known) = (row.count(0)?, row.count(1)?);
    if day > ask.day {
        return Ok(Given { day, total: known, granted: 0 });
    }
    let before = if day == ask.day { known } else { 0 } + ask.overdrawn;
    let granted = ask.more.min(ask.most.saturating_sub(before));
    let total = before + granted;
    let text = "UPDATE cg_allowances SET day = $2, given = $3 WHERE name = $1";
    session.rows(text, vec![ask.name.as_str().into(), ask.day.into(), total.into()]).await?;
    Ok(Given { day: ask.day, total, granted })
}
