//! ZooKeeper's transaction log: a header, then transactions each with checksum, length and an end mark. Zeros, which
//! ZooKeeper writes ahead, end it.

use super::model::{Header, Model, NewNode};
use super::snapshot::read_acl;
use super::{DataError, adler32};
use bytes::{Buf, Bytes};
use common::zk::{OpCode, Reader};

const MAGIC: &[u8] = b"ZKLG";
const VERSION: i32 = 2;
/// Behind each transaction.
const END: u8 = b'B';

/// Applies what is newer than the model; how many transactions that were.
pub(super) fn apply(bytes: &[u8], model: &mut Model) -> Result<u64, DataError> {
    let mut rest = Bytes::copy_from_slice(bytes);
    if rest.len() < 16 || &rest[..4] != MAGIC {
        return Err(DataError::Magic("transaction log"));
    }
    rest.advance(4);
    let version = rest.get_i32();
    if version != VERSION {
        return Err(DataError::Version(version));
    }
    rest.advance(8);
    let mut applied = 0;
    while let Some(txn) = next(&mut rest)? {
        let mut reader = Reader::new(txn);
        let session = reader.long()?;
        reader.int()?;
        let (zxid, time, kind) = (reader.long()?, reader.long()?, reader.int()?);
        if zxid <= model.zxid {
            continue;
        }
        one(model, Header { session, zxid, time }, kind, &mut reader)?;
        model.zxid = zxid;
        applied += 1;
    }
    Ok(applied)
}

/// The next whole transaction.
fn next(rest: &mut Bytes) -> Result<Option<Bytes>, DataError> {
    if rest.len() < 12 {
        return Ok(None);
    }
    let expected = rest.get_u64();
    let length = rest.get_i32();
    let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0 && *length < rest.len()) else {
        return Ok(None);
    };
    let txn = rest.split_to(length);
    if rest.get_u8() != END {
        return Ok(None);
    }
    let found = adler32(&txn);
    if expected == found { Ok(Some(txn)) } else { Err(DataError::Checksum { expected, found }) }
}

fn one(model: &mut Model, header: Header, kind: i32, reader: &mut Reader) -> Result<(), DataError> {
    let unknown = || DataError::Type { zxid: header.zxid, kind };
    match OpCode::from_code(kind).ok_or_else(unknown)? {
        OpCode::Create | OpCode::Create2 => {
            let (path, data, acl) = (reader.required()?, buffer(reader)?, reader.vector(read_acl)?);
            let owner = if reader.bool()? { header.session } else { 0 };
            // Version 3.3 and older end here.
            let parent_cversion = if reader.remaining() >= 4 { reader.int()? } else { -1 };
            model.create(header, NewNode { path, data, acl, owner, parent_cversion });
        }
        OpCode::CreateContainer => {
            let (path, data, acl) = (reader.required()?, buffer(reader)?, reader.vector(read_acl)?);
            let owner = crate::tree::Kind::Container.to_owner();
            model.create(header, NewNode { path, data, acl, owner, parent_cversion: reader.int()? });
        }
        OpCode::CreateTtl => {
            let (path, data, acl) = (reader.required()?, buffer(reader)?, reader.vector(read_acl)?);
            let parent_cversion = reader.int()?;
            let owner = crate::tree::Kind::Ttl(reader.long()?).to_owner();
            model.create(header, NewNode { path, data, acl, owner, parent_cversion });
        }
        OpCode::Delete | OpCode::DeleteContainer => model.delete(header.zxid, &reader.required()?),
        OpCode::SetData | OpCode::Reconfig => {
            let (path, data, version) = (reader.required()?, buffer(reader)?, reader.int()?);
            model.set_data(header, &path, data, version);
        }
        OpCode::SetAcl => {
            let (path, acl, version) = (reader.required()?, reader.vector(read_acl)?, reader.int()?);
            model.set_acl(&path, acl, version);
        }
        OpCode::CreateSession => drop(model.sessions.insert(header.session, reader.int()?)),
        OpCode::CloseSession => {
            let named = if reader.remaining() >= 4 { reader.strings().unwrap_or_default() } else { Vec::new() };
            model.close_session(header, named);
        }
        OpCode::Multi => {
            let steps = reader.vector(|reader| Ok((reader.int()?, reader.buffer()?.unwrap_or_default())))?;
            // One that failed stands for all.
            if steps.iter().all(|(kind, _)| *kind != OpCode::Error.code()) {
                for (kind, step) in steps {
                    one(model, header, kind, &mut Reader::new(step))?;
                }
            }
        }
        OpCode::Check | OpCode::Error => {}
        _ => return Err(unknown()),
    }
    Ok(())
}

fn buffer(reader: &mut Reader) -> Result<Option<Vec<u8>>, DataError> {
    Ok(reader.buffer()?.map(|data| data.to_vec()))
}
