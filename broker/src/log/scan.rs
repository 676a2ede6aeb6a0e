//! Walking over the batches of a segment file by their headers. Reads in chunks, trusts no length, changes nothing.

use super::LogError;
use bytes::Bytes;
use common::disk::DiskFile;
use common::kafka::batch::{Batch, BatchHeader, HEADER_BYTES};
use std::path::Path;

/// Chunk for finding one batch: two index intervals, so that one read usually does.
pub(crate) const LOOKUP_CHUNK_BYTES: usize = 8 << 10;
/// Chunk for walking through a whole segment.
pub(crate) const WALK_CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a batch, as positions in segments are counted.
pub(crate) fn size_of(header: &BatchHeader) -> u32 {
    // A length is at most 2^31-1, and 12 bytes more still fit.
    header.size_bytes() as u32
}

/// A position in a segment file and the chunk around it.
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    position: u32,
    end: u32,
    chunk: Vec<u8>,
    chunk_start: u32,
    chunk_len: usize,
}

/// What stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A batch whose header makes sense and whose bytes are all there; the checksum is not checked.
    Batch(u32, BatchHeader),
    /// The end of the file, exactly.
    End,
    /// Something else.
    Corrupt { position: u32, reason: &'static str },
}

impl<'a> Scanner<'a> {
    /// Starts at `position`; bytes from `end` on are not looked at.
    pub(crate) fn new(
        file: &'a dyn DiskFile,
        path: &'a Path,
        position: u32,
        end: u32,
        chunk_bytes: usize,
    ) -> Scanner<'a> {
        let chunk_bytes = chunk_bytes.min(end.saturating_sub(position) as usize).max(HEADER_BYTES);
        Scanner { file, path, position, end, chunk: vec![0; chunk_bytes], chunk_start: 0, chunk_len: 0 }
    }

    /// The batch at the position, and steps over it. After anything but a batch the position stays.
    pub(crate) fn next(&mut self) -> Result<Scanned, LogError> {
        let position = self.position;
        if position >= self.end {
            return Ok(Scanned::End);
        }
        let left = self.end - position;
        if (left as usize) < HEADER_BYTES {
            return Ok(Scanned::Corrupt { position, reason: "the last batch's header is incomplete" });
        }
        let Ok(header) = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?) else {
            return Ok(Scanned::Corrupt { position, reason: "not the header of a version 2 batch" });
        };
        if size_of(&header) > left {
            return Ok(Scanned::Corrupt { position, reason: "the last batch is incomplete" });
        }
        if header.base_offset < 0 || header.last_offset_delta < 0 || header.next_offset() < 0 {
            return Ok(Scanned::Corrupt { position, reason: "a batch has impossible offsets" });
        }
        self.position += size_of(&header);
        Ok(Scanned::Batch(position, header))
    }

    /// As [`Scanner::next`] where damage is an error: `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u32, BatchHeader)>, LogError> {
        match self.next()? {
            Scanned::Batch(position, header) => Ok(Some((position, header))),
            Scanned::End => Ok(None),
            Scanned::Corrupt { position, reason } => {
                Err(LogError::malformed(self.path, format!("{reason} (position {position})")))
            }
        }
    }

    /// Whether the checksum of a batch that was just returned is right.
    pub(crate) fn has_valid_crc(&mut self, position: u32, header: &BatchHeader) -> Result<bool, LogError> {
        let mut crc = 0;
        // The checksum covers everything behind itself.
        let mut at = position + 21;
        let end = position + size_of(header);
        while at < end {
            let len = self.chunk.len().min((end - at) as usize);
            crc = crc32c::crc32c_append(crc, self.bytes(at, len)?);
            at += len as u32;
        }
        Ok(crc == header.crc)
    }

    /// True if a message of the formats before version 2 seems to stand at `position`.
    pub(crate) fn is_old_format(&mut self, position: u32) -> Result<bool, LogError> {
        let left = (self.end - position) as usize;
        if left < 26 {
            return Ok(false);
        }
        let bytes = self.bytes(position, 26)?;
        let len = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let fits = usize::try_from(len).is_ok_and(|len| len >= 14 && len + 12 <= left);
        Ok(fits && (bytes[16] == 0 || bytes[16] == 1))
    }

    /// The whole of a batch that was just returned.
    pub(crate) fn batch(&mut self, position: u32, header: &BatchHeader) -> Result<Batch, LogError> {
        // `next` saw that the file holds the whole batch, so the length is real.
        let mut bytes = vec![0; header.size_bytes()];
        self.fill(position, &mut bytes)?;
        Ok(Batch { header: *header, bytes: Bytes::from(bytes) })
    }

    /// `len` bytes from `position`, at most a chunk.
    fn bytes(&mut self, position: u32, len: usize) -> Result<&[u8], LogError> {
        let inside = position >= self.chunk_start && (position - self.chunk_start) as usize + len <= self.chunk_len;
        if !inside {
            let want = self.chunk.len().min((self.end - position) as usize);
            let mut chunk = std::mem::take(&mut self.chunk);
            let filled = self.fill(position, &mut chunk[..want]);
            self.chunk = chunk;
            (self.chunk_start, self.chunk_len) = (position, if filled.is_ok() { want } else { 0 });
            filled?;
        }
        let start = (position - self.chunk_start) as usize;
        Ok(&self.chunk[start..start + len])
    }

    fn fill(&self, position: u32, buffer: &mut [u8]) -> Result<(), LogError> {
        let read = self.file.read_at(buffer, u64::from(position)).map_err(LogError::io("read", self.path))?;
        if read < buffer.len() {
            let short = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "segment is shorter than it was");
            return Err(LogError::io("read", self.path)(short));
        }
        Ok(())
    }
}
