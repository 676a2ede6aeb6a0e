//! State batches as the requests of the share coordinator carry them. A batch that no broker can mean is left out.

use super::{DeliveryState, StateBatch};
use common::kafka::messages::{read_share_group_state, write_share_group_state};

pub(crate) fn to_write(batches: &[StateBatch]) -> Vec<write_share_group_state::StateBatch> {
    let batch = |batch: &StateBatch| write_share_group_state::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state.code(),
        delivery_count: batch.delivery_count,
    };
    batches.iter().map(batch).collect()
}

pub(crate) fn from_write(batches: &[write_share_group_state::StateBatch]) -> Vec<StateBatch> {
    let batch = |batch: &write_share_group_state::StateBatch| {
        batch_of((batch.first_offset, batch.last_offset), batch.delivery_state, batch.delivery_count)
    };
    batches.iter().filter_map(batch).collect()
}

pub(crate) fn to_read(batches: &[StateBatch]) -> Vec<read_share_group_state::StateBatch> {
    let batch = |batch: &StateBatch| read_share_group_state::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state.code(),
        delivery_count: batch.delivery_count,
    };
    batches.iter().map(batch).collect()
}

pub(super) fn from_read(batches: &[read_share_group_state::StateBatch]) -> Vec<StateBatch> {
    let batch = |batch: &read_share_group_state::StateBatch| {
        batch_of((batch.first_offset, batch.last_offset), batch.delivery_state, batch.delivery_count)
    };
    batches.iter().filter_map(batch).collect()
}

fn batch_of((first, last): (i64, i64), state: i8, delivery_count: i16) -> Option<StateBatch> {
    let state = DeliveryState::from_code(state)?;
    (0 <= first && first <= last).then_some(StateBatch { first, last, state, delivery_count })
}
