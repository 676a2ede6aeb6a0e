//! The four compressions of record batches. Output is bounded when decompressing, and no declared size is believed.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// What snappy-java puts before its chunks: magic, version 1, compatible with 1.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of `XERIAL_HEADER` that are the same in every version of the framing.
const XERIAL_MAGIC_BYTES: usize = 8;
/// Uncompressed bytes of one chunk, as snappy-java cuts them.
const XERIAL_CHUNK_BYTES: usize = 32 * 1024;
/// A snappy copy makes at most 64 bytes out of 3, so a block that claims a higher ratio lies.
const SNAPPY_RATIO_MAX: usize = 22;
/// The largest window of any zstd level (22), 128 MiB. The system gives the memory only as far as it is touched.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the framing of snappy-java; raw snappy is understood too.
    Snappy,
    /// LZ4 frames of independent 64 KiB blocks.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

/// Why bytes cannot be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The bytes are not of this compression.
    #[error("{compression:?} data is corrupt: {reason}")]
    Corrupt {
        /// The compression that was declared.
        compression: Compression,
        /// What the decoder says.
        reason: String,
    },
    /// More would come out than the caller allows.
    #[error("{compression:?} data holds more than {max_bytes} bytes")]
    TooLarge {
        /// The compression.
        compression: Compression,
        /// The bound.
        max_bytes: usize,
    },
    /// The compressor refused, say for a level that it does not have.
    #[error("{compression:?} compression failed: {reason}")]
    Failed {
        /// The compression.
        compression: Compression,
        /// What the encoder says.
        reason: String,
    },
}

/// The level of lz4 at which Kafka takes the quick way.
const LZ4_DEFAULT_LEVEL: i32 = 9;
/// Below this the library takes the quick way, too.
const LZ4_THOROUGH_MIN: u32 = 3;
/// Beyond this the library knows no more.
const LZ4_THOROUGH_MAX: u32 = 12;

impl Compression {
    /// The compression with this number in the attributes of a batch (0 to 4).
    pub fn from_id(id: i16) -> Option<Compression> {
        use Compression::{Gzip, Lz4, None as Plain, Snappy, Zstd};
        [Plain, Gzip, Snappy, Lz4, Zstd].into_iter().find(|compression| compression.id() == id)
    }

    /// The number in the attributes of a batch.
    pub fn id(self) -> i16 {
        self as i16
    }

    /// The compression that `compression.type` names: `none`, `gzip`, `snappy`, `lz4`, `zstd`; `uncompressed` is the
    /// broker's word for `none`.
    pub fn from_name(name: &str) -> Option<Compression> {
        Some(match name {
            "none" | "uncompressed" => Compression::None,
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => return None,
        })
    }

    /// Name in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Compresses `input`. `level` is that of `compression.gzip.level` (1 to 9), `compression.lz4.level` (1 to 17) and
    /// `compression.zstd.level` (KIP-390), `None` the default of the compression; the others have none.
    pub fn compress(self, level: Option<i32>, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let failed = |error: io::Error| CompressionError::Failed { compression: self, reason: error.to_string() };
        match self {
            Compression::None => Ok(input.to_vec()),
            Compression::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok());
                let level =
                    level.map_or(flate2::Compression::default(), |level| flate2::Compression::new(level.min(9)));
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(input).and_then(|()| encoder.finish()).map_err(failed)
            }
            Compression::Snappy => compress_snappy(input).map_err(|error| failed(error.into())),
            // As in Kafka, the default is the quick way and not the ninth step of the thorough one.
            Compression::Lz4 if level.is_some_and(|level| level != LZ4_DEFAULT_LEVEL) => {
                use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};
                let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(1);
                let mut settings = EncoderBuilder::new();
                settings.level(level.clamp(LZ4_THOROUGH_MIN, LZ4_THOROUGH_MAX)).checksum(ContentChecksum::NoChecksum);
                settings.block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
                let mut encoder = settings.build(Vec::new()).map_err(failed)?;
                encoder.write_all(input).map_err(failed)?;
                let (output, ended) = encoder.finish();
                ended.map(|()| output).map_err(failed)
            }
            Compression::Lz4 => {
                use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
                // Kafka's Java clients read no linked blocks.
                let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(input).map_err(failed)?;
                encoder.finish().map_err(|error| failed(error.into()))
            }
            Compression::Zstd => {
                zstd::bulk::compress(input, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)).map_err(failed)
            }
        }
    }

    /// Decompresses `input` to at most `max_bytes`. Memory grows with what really comes out.
    pub fn decompress(self, input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
        match self {
            Compression::None if input.len() > max_bytes => {
                Err(CompressionError::TooLarge { compression: self, max_bytes })
            }
            Compression::None => Ok(input.to_vec()),
            Compression::Gzip => self.read_bounded(MultiGzDecoder::new(input), max_bytes),
            Compression::Snappy => decompress_snappy(input, max_bytes),
            Compression::Lz4 => self.read_bounded(lz4_flex::frame::FrameDecoder::new(input), max_bytes),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(|error| self.corrupt(&error))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| self.corrupt(&error))?;
                self.read_bounded(decoder, max_bytes)
            }
        }
    }

    fn read_bounded(self, reader: impl Read, max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
        let mut output = Vec::new();
        let bound = (max_bytes as u64).saturating_add(1);
        reader.take(bound).read_to_end(&mut output).map_err(|error| self.corrupt(&error))?;
        if output.len() > max_bytes {
            return Err(CompressionError::TooLarge { compression: self, max_bytes });
        }
        Ok(output)
    }

    fn corrupt(self, reason: &dyn std::fmt::Display) -> CompressionError {
        CompressionError::Corrupt { compression: self, reason: reason.to_string() }
    }
}

fn compress_snappy(input: &[u8]) -> Result<Vec<u8>, snap::Error> {
    let mut encoder = snap::raw::Encoder::new();
    let mut output = XERIAL_HEADER.to_vec();
    let mut chunk = vec![0; snap::raw::max_compress_len(XERIAL_CHUNK_BYTES)];
    for part in input.chunks(XERIAL_CHUNK_BYTES) {
        let len = encoder.compress(part, &mut chunk)?;
        output.extend_from_slice(&(len as u32).to_be_bytes());
        output.extend_from_slice(&chunk[..len]);
    }
    Ok(output)
}

fn decompress_snappy(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    if !input.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]) {
        append_snappy_block(input, &mut output, max_bytes)?;
        return Ok(output);
    }
    let truncated = || Compression::Snappy.corrupt(&"a chunk reaches beyond the end");
    let mut rest = input.get(XERIAL_HEADER.len()..).ok_or_else(truncated)?;
    while !rest.is_empty() {
        let (prefix, behind) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        let len = u32::from_be_bytes(*prefix) as usize;
        let (block, behind) = behind.split_at_checked(len).ok_or_else(truncated)?;
        append_snappy_block(block, &mut output, max_bytes)?;
        rest = behind;
    }
    Ok(output)
}

fn append_snappy_block(block: &[u8], output: &mut Vec<u8>, max_bytes: usize) -> Result<(), CompressionError> {
    let compression = Compression::Snappy;
    let declared = snap::raw::decompress_len(block).map_err(|error| compression.corrupt(&error))?;
    if declared > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(compression.corrupt(&"a block claims more than snappy can hold"));
    }
    if declared > max_bytes - output.len() {
        return Err(CompressionError::TooLarge { compression, max_bytes });
    }
    let start = output.len();
    output.resize(start + declared, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut output[start..]);
    output.truncate(start + written.map_err(|error| compression.corrupt(&error))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn what_is_compressed_comes_back() {
        let mut rng = crate::Rng::with_seed(7);
        let noise: Vec<u8> = (0..200_000).map(|_| rng.u8(..)).collect();
        for compression in ALL {
            for input in [&b""[..], b"a", &[b'x'; 100_000], &noise] {
                let packed = compression.compress(None, input).unwrap();
                assert_eq!(compression.decompress(&packed, input.len()).unwrap(), input, "{compression:?}");
            }
        }
    }

    #[test]
    fn levels_trade_work_for_size() {
        let mut rng = crate::Rng::with_seed(3);
        let words: Vec<String> = (0..500).map(|_| format!("{:x}", rng.u64(..1 << 40))).collect();
        let text: Vec<u8> = (0..40_000).flat_map(|_| words[rng.usize(..words.len())].bytes()).collect();
        for (compression, default, levels) in [
            (Compression::Gzip, None, 1..=9),
            (Compression::Lz4, Some(9), 1..=17),
            (Compression::Zstd, Some(3), -5..=19),
        ] {
            let mut sizes = Vec::new();
            for level in levels {
                let packed = compression.compress(Some(level), &text).unwrap();
                assert_eq!(compression.decompress(&packed, text.len()).unwrap(), text, "{compression:?} {level}");
                if Some(level) == default {
                    assert_eq!(packed, compression.compress(None, &text).unwrap(), "{compression:?}");
                }
                sizes.push(packed.len());
            }
            let (largest, last) = (sizes.iter().max().unwrap(), sizes.last().unwrap());
            assert!(last * 100 < largest * 95, "{compression:?}: {sizes:?}");
        }
    }

    #[test]
    fn output_is_bounded() {
        for compression in ALL {
            let packed = compression.compress(None, &[0; 1_000_000]).unwrap();
            let error = compression.decompress(&packed, 999_999).unwrap_err();
            assert!(matches!(error, CompressionError::TooLarge { .. }), "{compression:?}: {error}");
        }
    }

    #[test]
    fn broken_input_is_an_error() {
        for compression in &ALL[1..] {
            let packed = compression.compress(None, &b"some words, some words".repeat(50)).unwrap();
            for end in 1..packed.len() - 1 {
                // A cut behind a whole chunk of snappy is not visible; anything else must not panic.
                let _ = compression.decompress(&packed[..end], 1 << 20);
            }
            let mut rng = crate::Rng::with_seed(1);
            for _ in 0..2000 {
                let mut mutated = packed.clone();
                let at = rng.usize(..mutated.len());
                mutated[at] = rng.u8(..);
                let _ = compression.decompress(&mutated, 1 << 16);
            }
            assert!(compression.decompress(b"\xff\xff\xff\xff\x0f\x00nonsense", 1 << 30).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn raw_snappy_is_understood() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Compression::Snappy.decompress(&packed, 100).unwrap(), b"hello hello hello");
    }

    #[test]
    fn ids_and_names_are_those_of_kafka() {
        for (id, compression) in ALL.into_iter().enumerate() {
            assert_eq!(Compression::from_id(id as i16), Some(compression));
            assert_eq!(Compression::from_name(compression.name()), Some(compression));
        }
        assert_eq!(Compression::from_id(5), None);
    }
}
