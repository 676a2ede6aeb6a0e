//! The controller: elected through `/controller`, it decides who leads what. This file holds the election and sends what
//! comes in to the reign, if there is one; a broker that loses its session or `/controller` stops reigning at once.

pub(super) mod admin;
mod deletion;
pub(super) mod election;
mod eligible;
pub(super) mod isr;
mod load;
pub(super) mod mirror;
pub(super) mod notify;
pub(super) mod reassign;
mod reign;
mod topic_writes;
mod undelete;
mod writes;

use super::image::Image;
use super::json::{
    ProducerIdBlock, decode_controller, decode_controller_epoch, encode_controller, encode_controller_epoch,
};
use super::kept::KeptTopic;
use super::store::{ANY_VERSION, ZkResult, exists, get, multi_outcome, set};
use super::{Io, Waiter, paths};
use crate::outbox::PeerError;
use common::kafka::messages::{LeaderAndIsrResponse, StopReplicaResponse, UpdateMetadataResponse};
use common::time::Millis;
use common::zk::{CreateMode, Request, Response, WatcherEvent, ZkError};
use mirror::ElectionOverrides;
use reign::Reign;
use std::collections::BTreeMap;
use thiserror::Error;
use tracing::{info, warn};

/// What the controller asks of ZooKeeper.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ControllerAsk {
    /// Epoch of the reign that asked; 0 in the election. Answers to an earlier reign count no more.
    reign: i32,
    /// The reign cannot begin before this is answered.
    is_loading: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// Only sets the watch.
    WatchController,
    ReadController,
    ReadEpoch,
    CreateEpoch,
    Elect {
        epoch: i32,
    },
    /// `/controller` is ours though the election seemed to fail: with which epoch?
    ConfirmEpoch,
    /// The controller's process is gone: with which epoch would its successor begin?
    SuccessionEpoch {
        gone: i32,
    },
    /// Does the controller that is gone still stand there?
    Succession {
        gone: i32,
        epoch: i32,
        version: i32,
    },
    /// Anything a reign asks.
    Reign(reign::Question),
}

fn election(what: What) -> ControllerAsk {
    ControllerAsk { reign: 0, is_loading: false, what }
}

/// This broker is not the controller.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this broker is not the controller")]
pub struct NotController;

/// Why a controlled shutdown is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ControlledShutdownError {
    /// This broker is not the controller.
    #[error("this broker is not the controller")]
    NotController,
    /// The request comes from an earlier life of the broker.
    #[error("the broker has registered again since")]
    StaleBrokerEpoch,
    /// No such broker is registered.
    #[error("the broker is not registered")]
    UnknownBroker,
}

/// Why no producer ids are given out.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProducerIdsError {
    /// This broker is not the controller.
    #[error("this broker is not the controller")]
    NotController,
    /// The request comes from an earlier life of the broker.
    #[error("the broker has registered again since")]
    StaleBrokerEpoch,
    /// No such broker is registered.
    #[error("the broker is not registered")]
    UnknownBroker,
    /// ZooKeeper did not take the block, or all ids are used up.
    #[error("no block of producer ids could be had")]
    Unavailable,
}

/// Idle (no registration) -> Watching (registered; somebody else, or nobody yet) -> Reigning (elected) -> Watching
/// (`/controller` lost) or Idle (session lost).
#[derive(Debug)]
enum Role {
    Idle,
    Watching,
    Reigning(Box<Reign>),
}

#[derive(Debug)]
pub(super) struct Controller {
    role: Role,
    session: i64,
    /// The session before this one in the same process.
    previous_session: Option<i64>,
    known: Option<i32>,
    /// Brokers whose process was seen to be gone, and when; for this broker's next reign.
    gone: BTreeMap<i32, Millis>,
    /// What is set in ZooKeeper for all brokers.
    defaults: ElectionOverrides,
}

/// The death of a broker is remembered this long: by then its session has ended as well, with any timeout in use.
const GONE_REMEMBERED_MS: u64 = 60_000;

impl Controller {
    pub(super) fn new() -> Controller {
        let (role, gone) = (Role::Idle, BTreeMap::new());
        Controller {
            role,
            session: 0,
            previous_session: None,
            known: None,
            gone,
            defaults: ElectionOverrides::default(),
        }
    }

    /// The broker in `/controller`, as last read.
    pub(super) fn known_controller(&self) -> Option<i32> {
        self.known
    }

    fn reign(&self) -> Option<&Reign> {
        match &self.role {
            Role::Reigning(reign) if reign.is_loaded() => Some(reign),
            _ => None,
        }
    }

    fn reign_mut(&mut self) -> Option<&mut Reign> {
        match &mut self.role {
            Role::Reigning(reign) if reign.is_loaded() => Some(reign),
            _ => None,
        }
    }

    pub(super) fn standing(&self) -> Option<mirror::Standing> {
        Some(self.reign()?.mirror.standing())
    }

    pub(super) fn active_epoch(&self) -> Option<i32> {
        self.reign().map(Reign::epoch)
    }

    pub(super) fn topic_name(&self, id: uuid::Uuid) -> Option<String> {
        self.reign()?.mirror.names.get(&id).cloned()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match &self.role {
            Role::Reigning(reign) => reign.next_deadline(),
            _ => None,
        }
    }

    /// The broker is registered: it takes part in elections.
    pub(super) fn stand(&mut self, session: i64, io: &mut Io<'_>) {
        self.session = session;
        self.role = Role::Watching;
        self.look(io);
    }

    /// Looks who the controller is. The watch is set by asking whether the node exists, for it may not.
    fn look(&mut self, io: &mut Io<'_>) {
        io.store.ask(election(What::WatchController), exists(paths::CONTROLLER, true));
        io.store.ask(election(What::ReadController), get(paths::CONTROLLER, false));
    }

    pub(super) fn on_session_over(&mut self, io: &mut Io<'_>) {
        self.resign(io);
        if self.session != 0 {
            self.previous_session = Some(self.session);
        }
        self.role = Role::Idle;
        self.known = None;
    }

    fn resign(&mut self, io: &mut Io<'_>) {
        if let Role::Reigning(reign) = std::mem::replace(&mut self.role, Role::Watching) {
            info!(epoch = reign.epoch(), "no longer the controller");
            reign.end(io);
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatcherEvent, io: &mut Io<'_>) {
        if event.path == paths::CONTROLLER {
            if !matches!(self.role, Role::Idle) {
                self.look(io);
            }
        } else if let Role::Reigning(reign) = &mut self.role {
            reign.on_watch(event, io);
        }
    }

    pub(super) fn on_answer(&mut self, ask: ControllerAsk, result: ZkResult, io: &mut Io<'_>) {
        match ask.what {
            What::Reign(question) => {
                if let Role::Reigning(reign) = &mut self.role
                    && reign.epoch() == ask.reign
                {
                    reign.on_answer(question, ask.is_loading, result, io);
                }
            }
            _ if matches!(self.role, Role::Idle) => {}
            What::WatchController => {}
            What::ReadController => self.on_controller(result, io),
            What::ReadEpoch => self.on_epoch(result, io),
            What::CreateEpoch => io.store.ask(election(What::ReadEpoch), get(paths::CONTROLLER_EPOCH, false)),
            What::Elect { epoch } => self.on_elected(epoch, result, io),
            What::ConfirmEpoch => self.on_confirmed(result, io),
            What::SuccessionEpoch { gone } => Controller::on_succession_epoch(gone, result, io),
            What::Succession { gone, epoch, version } => self.succeed(gone, (epoch, version), result, io),
        }
    }

    fn on_controller(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let (data, stat) = match result {
            Ok(Response::GetData { data, stat }) => (data.unwrap_or_default(), stat),
            Err(ZkError::NoNode) => {
                self.known = None;
                self.resign(io);
                io.store.ask(election(What::ReadEpoch), get(paths::CONTROLLER_EPOCH, false));
                return;
            }
            _ => return,
        };
        let before = std::mem::replace(&mut self.known, decode_controller(&data).ok());
        let is_ours = stat.ephemeral_owner == self.session && stat.ephemeral_owner != 0;
        match (&self.role, is_ours) {
            (Role::Reigning(_), true) => {}
            (_, true) => io.store.ask(election(What::ConfirmEpoch), get(paths::CONTROLLER_EPOCH, false)),
            (_, false) => {
                self.resign(io);
                let me = io.config.broker_id.0;
                if self.previous_session == Some(stat.ephemeral_owner) && self.known == Some(me) {
                    // An ensemble that refuses a session (its data was copied, or its clock jumped) may keep the nodes of it.
                    info!("what this broker's expired session left behind stands for a controller");
                    self.depose(me, io);
                } else if before != self.known {
                    info!(controller = self.known, "another broker is the controller");
                }
            }
        }
    }

    fn on_epoch(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let (data, stat) = match result {
            Ok(Response::GetData { data, stat }) => (data.unwrap_or_default(), stat),
            Err(ZkError::NoNode) => {
                let create = io.store.persistent(paths::CONTROLLER_EPOCH, Some(encode_controller_epoch(0)));
                io.store.ask(election(What::CreateEpoch), create);
                return;
            }
            _ => return,
        };
        let epoch = match decode_controller_epoch(&data) {
            Ok(epoch) => epoch + 1,
            Err(problem) => {
                warn!(%problem, "cannot stand for controller");
                return;
            }
        };
        let data = encode_controller(io.config.broker_id.0, io.now.wall.0);
        let create = io.store.create(paths::CONTROLLER, Some(data), CreateMode::Ephemeral);
        let count = set(paths::CONTROLLER_EPOCH, encode_controller_epoch(epoch), stat.version);
        io.store.ask(election(What::Elect { epoch }), Request::Multi(vec![create, count]));
    }

    /// Takes the place of a controller whose process is gone. The epoch is read first: any election from then on gives
    /// `/controller_epoch` another version, and the change below does not happen.
    fn depose(&mut self, gone: i32, io: &mut Io<'_>) {
        if matches!(self.role, Role::Watching) && self.known == Some(gone) {
            io.store.ask(election(What::SuccessionEpoch { gone }), get(paths::CONTROLLER_EPOCH, false));
        }
    }

    fn on_succession_epoch(gone: i32, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, stat }) = result else { return };
        if let Ok(epoch) = decode_controller_epoch(&data.unwrap_or_default()) {
            let what = What::Succession { gone, epoch: epoch + 1, version: stat.version };
            io.store.ask(election(what), get(paths::CONTROLLER, false));
        }
    }

    fn succeed(&mut self, gone: i32, (epoch, version): (i32, i32), result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, stat }) = result else { return };
        let stands = decode_controller(&data.unwrap_or_default()).ok();
        if stands != Some(gone) || stat.ephemeral_owner == self.session || !matches!(self.role, Role::Watching) {
            return;
        }
        warn!(gone, epoch, "the controller's process is gone; taking its place");
        let data = encode_controller(io.config.broker_id.0, io.now.wall.0);
        let remove = Request::Delete { path: paths::CONTROLLER.to_owned(), version: ANY_VERSION };
        let create = io.store.create(paths::CONTROLLER, Some(data), CreateMode::Ephemeral);
        let count = set(paths::CONTROLLER_EPOCH, encode_controller_epoch(epoch), version);
        io.store.ask(election(What::Elect { epoch }), Request::Multi(vec![remove, create, count]));
    }

    fn on_elected(&mut self, epoch: i32, result: ZkResult, io: &mut Io<'_>) {
        match multi_outcome(result) {
            Ok(answers) => {
                let Some(Response::SetData { stat }) = answers.last() else { return };
                self.begin(epoch, stat.version, io);
            }
            Err((_, ZkError::NodeExists | ZkError::BadVersion | ZkError::NoNode)) => self.look(io),
            Err((_, problem)) => warn!(%problem, "cannot stand for controller"),
        }
    }

    fn on_confirmed(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, stat }) = result else { return };
        match decode_controller_epoch(&data.unwrap_or_default()) {
            Ok(epoch) if !matches!(self.role, Role::Reigning(_)) => self.begin(epoch, stat.version, io),
            _ => {}
        }
    }

    fn begin(&mut self, epoch: i32, epoch_version: i32, io: &mut Io<'_>) {
        info!(broker = io.config.broker_id.0, epoch, "elected controller");
        self.known = Some(io.config.broker_id.0);
        let mut reign = Reign::begin(epoch, epoch_version, io);
        reign.set_defaults(self.defaults);
        self.role = Role::Reigning(Box::new(reign));
        self.tell_of_gone(io.now.mono);
    }

    /// Does what follows from all that came in, and sends it.
    pub(super) fn settle(&mut self, io: &mut Io<'_>) {
        let Role::Reigning(reign) = &mut self.role else { return };
        reign.settle(io);
        if reign.is_deposed() {
            self.resign(io);
            self.look(io);
        }
    }

    /// What is set for a topic changed.
    pub(super) fn on_settings_changed(&mut self, topic: &str) {
        if let Role::Reigning(reign) = &mut self.role {
            reign.on_settings_changed(topic);
        }
    }

    /// What is set for all brokers changed.
    pub(super) fn on_default_settings(&mut self, settings: &BTreeMap<String, String>) {
        self.defaults = ElectionOverrides::of(settings);
        if let Role::Reigning(reign) = &mut self.role {
            reign.set_defaults(self.defaults);
        }
    }

    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        if let Some(reign) = self.reign_mut() {
            reign.tick(io);
        }
    }

    pub(super) fn on_image(&mut self, image: &Image, io: &mut Io<'_>) {
        if let Some(reign) = self.reign_mut() {
            reign.on_image(image, io);
        }
    }

    pub(super) fn on_roles_answer(
        &mut self,
        from: (i32, u64),
        response: Result<LeaderAndIsrResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        if let Some(reign) = self.reign_mut() {
            reign.on_roles_answer(from, response, io);
        }
    }

    pub(super) fn on_metadata_answer(
        &mut self,
        from: (i32, u64),
        response: Result<UpdateMetadataResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        if let Some(reign) = self.reign_mut() {
            reign.on_metadata_answer(from, response, io);
        }
    }

    pub(super) fn on_stops_answer(
        &mut self,
        from: (i32, u64),
        response: Result<StopReplicaResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        if let Some(reign) = self.reign_mut() {
            reign.on_stops_answer(from, response, io);
        }
    }

    /// A broker's process is gone.
    pub(super) fn on_gone(&mut self, broker: i32, io: &mut Io<'_>) {
        self.gone.insert(broker, io.now.mono);
        match &mut self.role {
            Role::Reigning(reign) if reign.is_loaded() => reign.on_unreachable(broker, io),
            Role::Reigning(_) => self.tell_of_gone(io.now.mono),
            Role::Watching | Role::Idle => self.depose(broker, io),
        }
    }

    /// A broker that was seen to be gone was reached again: it is there after all, or a new life of it.
    pub(super) fn on_reached(&mut self, broker: i32) {
        self.gone.remove(&broker);
    }

    /// A reign that reads the cluster's state still learns who is dead though registered.
    fn tell_of_gone(&mut self, now: Millis) {
        self.gone.retain(|_, at| now - *at < GONE_REMEMBERED_MS);
        if let Role::Reigning(reign) = &mut self.role {
            reign.expect_gone(self.gone.keys().copied());
        }
    }

    pub(super) fn on_unreachable(&mut self, broker: i32, io: &mut Io<'_>) {
        if let Some(reign) = self.reign_mut() {
            reign.on_unreachable(broker, io);
        }
    }

    pub(super) fn change_topics(
        &mut self,
        request: admin::TopicsRequest,
        done: Waiter<admin::TopicsOutcome>,
        io: &mut Io<'_>,
    ) -> Result<(), NotController> {
        self.reign_mut().ok_or(NotController)?.change_topics(request, done, io);
        Ok(())
    }

    pub(super) fn deleted_topics(&self) -> Result<Vec<KeptTopic>, NotController> {
        match &self.role {
            Role::Reigning(reign) if reign.is_loaded() => Ok(reign.kept.all().cloned().collect()),
            _ => Err(NotController),
        }
    }

    pub(super) fn alter_partitions(
        &mut self,
        from: (i32, i64),
        changes: Vec<isr::IsrChange>,
        done: Waiter<Vec<isr::IsrOutcome>>,
        io: &mut Io<'_>,
    ) -> Result<(), isr::AlterPartitionError> {
        let reign = self.reign_mut().ok_or(isr::AlterPartitionError::NotController)?;
        reign.alter_partitions(from, changes, done, io)
    }

    pub(super) fn controlled_shutdown(
        &mut self,
        from: (i32, i64),
        done: Waiter<Vec<(String, i32)>>,
        io: &mut Io<'_>,
    ) -> Result<(), ControlledShutdownError> {
        let reign = self.reign_mut().ok_or(ControlledShutdownError::NotController)?;
        reign.controlled_shutdown(from, done, io)
    }

    pub(super) fn allocate_producer_ids(
        &mut self,
        from: (i32, i64),
        done: Waiter<Result<ProducerIdBlock, ProducerIdsError>>,
        io: &mut Io<'_>,
    ) -> Result<(), ProducerIdsError> {
        let reign = self.reign_mut().ok_or(ProducerIdsError::NotController)?;
        reign.allocate_producer_ids(from, done, io)
    }

    pub(super) fn elect_leaders(
        &mut self,
        kind: reassign::ElectionKind,
        partitions: Option<Vec<mirror::Tp>>,
        done: Waiter<BTreeMap<mirror::Tp, reassign::ElectionOutcome>>,
        io: &mut Io<'_>,
    ) -> Result<(), NotController> {
        self.reign_mut().ok_or(NotController)?.elect_leaders(kind, partitions, done, io);
        Ok(())
    }

    pub(super) fn reassign(
        &mut self,
        moves: reassign::Moves,
        done: Waiter<BTreeMap<mirror::Tp, Result<(), reassign::ReassignError>>>,
        io: &mut Io<'_>,
    ) -> Result<(), NotController> {
        self.reign_mut().ok_or(NotController)?.reassign(moves, done, io);
        Ok(())
    }

    pub(super) fn reassignments(
        &self,
        of: Option<&[mirror::Tp]>,
    ) -> Result<Vec<reassign::OngoingReassignment>, NotController> {
        Ok(self.reign().ok_or(NotController)?.reassignments(of))
    }
}
