// SPDX-License-Identifier: Apache-2.0
//! Who holds how much memory: each channel has an account, the process a budget over all of them.
//!
//! The budget is the process's: media may have what the rest of it (tables, connections, what the allocator keeps)
//! leaves of the bound, but never less than half, or a peak elsewhere would empty every window. Who is over is told by
//! share: a channel that holds less than its fair share gives nothing because of another's excess.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use headwater_net::metrics::process::resident_bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// Media bytes of all channels against the process's bound.
#[derive(Debug)]
pub struct Budget {
    bytes_max: AtomicU64,
    /// What media may have of it.
    media_bytes_max: AtomicU64,
    /// The process is all but at its bound.
    tight: AtomicBool,
    /// Guards the list; held to open an account, and to compute shares while over the bound.
    accounts: Mutex<Vec<Weak<Account>>>,
    held: AtomicU64,
    /// What was held lately: what is freed leaves the process later. Held to note one.
    recent: Mutex<VecDeque<(Instant, u64)>>,
    /// When last a live window had to be cut short. Held to look.
    strained: Mutex<Option<Instant>>,
}

/// How long what is freed may stay with the allocator.
const FREED_STAYS: Duration = Duration::from_secs(15);
/// How long no new channel is taken after a live window had to be cut short.
const STRAINED: Duration = Duration::from_secs(10);

impl Budget {
    /// A budget of `bytes_max` for the process.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: AtomicU64::new(bytes_max),
            media_bytes_max: AtomicU64::new(bytes_max),
            tight: AtomicBool::new(false),
            accounts: Mutex::default(),
            held: AtomicU64::new(0),
            recent: Mutex::default(),
            strained: Mutex::default(),
        })
    }

    /// Another bound from here on.
    pub fn bound(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.media_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Notes what the system says the process holds.
    pub fn measured(&self, resident_bytes: u64) {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|(at, _)| *at + FREED_STAYS < now) {
            recent.pop_front();
        }
        let held = self.held();
        // Only what is larger than all that came after it can be a peak.
        while recent.back().is_some_and(|(_, smaller)| *smaller <= held) {
            recent.pop_back();
        }
        recent.push_back((now, held));
        let peak = recent.front().map_or(held, |(_, peak)| *peak);
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        // What is measured is a moment old when it is used.
        let margin = bytes_max / 10;
        let beside_media = resident_bytes.saturating_sub(peak) + margin;
        let mut media_bytes_max = bytes_max.saturating_sub(beside_media);
        let tight = resident_bytes + margin > bytes_max;
        self.tight.store(tight, Ordering::Relaxed);
        if tight {
            // What was freed has not left, or is of no use for what comes: no more until it has.
            media_bytes_max = media_bytes_max.min(held);
        }
        self.media_bytes_max.store(media_bytes_max.max(bytes_max / 2), Ordering::Relaxed);
    }

    /// True while the process is all but at its bound: what can wait at its encoder should.
    pub fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// True once so much has come or gone that an old measurement is of no use.
    pub fn has_moved(&self, held: u64) -> bool {
        self.held().abs_diff(held) > self.bytes_max.load(Ordering::Relaxed) / 64
    }

    /// What media may have.
    pub fn media_bytes_max(&self) -> u64 {
        self.media_bytes_max.load(Ordering::Relaxed)
    }

    /// Media bytes held.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// True while live windows do not fit: nobody new is let in.
    pub fn is_strained(&self) -> bool {
        self.strained.lock().is_some_and(|at| at.elapsed() < STRAINED)
    }

    /// A live window had to be cut short.
    pub fn strain(&self) {
        *self.strained.lock() = Some(Instant::now());
    }
}

/// The memory of one channel.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: AtomicU64,
    /// Of it: what is in the store.
    stored: AtomicU64,
    /// Of it: whole fragments and cut parts on their way to being published.
    unpublished: watch::Sender<u64>,
    /// Of it: fragments and parts that are not whole.
    unfinished: AtomicU64,
    /// What is held beyond bound and share even though the window is as short as it can be.
    overdrawn: AtomicBool,
}

impl Account {
    /// Opens an account.
    pub fn open(budget: &Arc<Budget>) -> Arc<Self> {
        let account = Arc::new(Self {
            budget: Arc::clone(budget),
            held: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            unpublished: watch::Sender::new(0),
            unfinished: AtomicU64::new(0),
            overdrawn: AtomicBool::new(false),
        });
        let mut accounts = budget.accounts.lock();
        accounts.retain(|account| account.strong_count() > 0);
        accounts.push(Arc::downgrade(&account));
        account
    }

    /// Counts bytes into the store.
    pub fn add(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
        self.take(bytes);
    }

    /// Counts bytes out of the store.
    pub fn remove(&self, bytes: u64) {
        self.stored.fetch_sub(bytes, Ordering::Relaxed);
        self.give(bytes);
    }

    fn take(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The process's budget.
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Media bytes held, published or not.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Media bytes on their way.
    pub fn unpublished(&self) -> u64 {
        *self.unpublished.borrow()
    }

    /// Bytes of what is not whole.
    pub fn unfinished_bytes(&self) -> u64 {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Waits until no more than `bytes_max` are on their way. What is on its way leaves by the clock, not by what comes
    /// after it, so this ends.
    pub async fn room(&self, bytes_max: u64) {
        // The sender lives in `self`: this cannot fail.
        let _ = self.unpublished.subscribe().wait_for(|bytes| *bytes <= bytes_max).await;
    }

    /// Counts bytes on their way until the guard goes.
    pub fn on_the_way(self: &Arc<Self>, bytes: u64) -> Charge {
        self.take(bytes);
        self.unpublished.send_modify(|all| *all += bytes);
        Charge { account: Arc::clone(self), bytes, on_the_way: true }
    }

    /// Counts bytes of what is not whole yet; see [`Charge::resize`].
    pub fn unfinished(self: &Arc<Self>) -> Charge {
        Charge { account: Arc::clone(self), bytes: 0, on_the_way: false }
    }

    /// Bytes this channel has to let go of: those beyond its own bound, or its share of the process's excess.
    pub fn excess(&self, bytes_max: u64) -> u64 {
        let own = self.held();
        let media_bytes_max = self.budget.media_bytes_max();
        let over = self.budget.held().saturating_sub(media_bytes_max);
        let beyond = own.saturating_sub(bytes_max);
        if over == 0 {
            return beyond;
        }
        let accounts = self.budget.accounts.lock();
        let held: Vec<u64> = accounts.iter().filter_map(Weak::upgrade).map(|a| a.held()).filter(|h| *h > 0).collect();
        drop(accounts);
        let fair = media_bytes_max / (held.len() as u64).max(1);
        let above = |held: u64| u128::from(held.saturating_sub(fair));
        let all: u128 = held.iter().map(|held| above(*held)).sum();
        let share = (u128::from(over) * above(own)).div_ceil(all.max(1));
        beyond.max(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Says whether even the shortest window does not fit.
    pub fn overdraw(&self, overdrawn: bool) {
        self.overdrawn.store(overdrawn, Ordering::Relaxed);
    }

    /// True while even the shortest window does not fit: nothing more is read for this channel.
    pub fn is_overdrawn(&self) -> bool {
        self.overdrawn.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held(), Ordering::Relaxed);
    }
}

/// Bytes counted until this goes.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: u64,
    on_the_way: bool,
}

impl Charge {
    /// What it counts.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts another number of bytes from here on.
    pub fn resize(&mut self, bytes: u64) {
        if bytes >= self.bytes {
            self.account.take(bytes - self.bytes);
        } else {
            self.account.give(self.bytes - bytes);
        }
        if self.on_the_way {
            let before = self.bytes;
            self.account.unpublished.send_modify(|all| *all = (*all + bytes) - before);
        } else {
            self.account.unfinished.fetch_add(bytes, Ordering::Relaxed);
            self.account.unfinished.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_below_its_share_gives_nothing_for_anothers_excess() {
        let budget = Budget::new(1_000);
        let (small, large, huge) = (Account::open(&budget), Account::open(&budget), Account::open(&budget));
        small.add(300);
        large.add(400);
        huge.add(600);
        // 300 over; the fair share is 333.
        assert_eq!(small.excess(u64::MAX), 0);
        assert_eq!((large.excess(u64::MAX), huge.excess(u64::MAX)), (61, 240));
        assert_eq!(small.excess(100), 200);
        drop(huge);
        assert_eq!((budget.held(), large.excess(u64::MAX)), (700, 0));
    }

    #[test]
    fn media_has_what_the_rest_of_the_process_leaves() {
        let budget = Budget::new(1_000);
        let account = Account::open(&budget);
        account.add(500);
        budget.measured(700);
        assert_eq!(budget.media_bytes_max(), 1_000 - 200 - 100);
        // What was freed a moment ago is still counted by the system: it is no reason to free more.
        account.remove(200);
        budget.measured(700);
        assert_eq!(budget.media_bytes_max(), 1_000 - 200 - 100);
        budget.measured(5_000);
        assert_eq!(budget.media_bytes_max(), 500);
    }

    #[tokio::test]
    async fn what_is_on_its_way_is_waited_for() {
        let account = Account::open(&Budget::new(1_000));
        let (first, second) = (account.on_the_way(60), account.on_the_way(60));
        let waiting = account.room(100);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        waiting.await;
        let mut unfinished = account.unfinished();
        unfinished.resize(10);
        assert_eq!((account.unpublished(), account.held()), (60, 70));
        drop((second, unfinished));
        assert_eq!(account.held(), 0);
    }
}
