// kafkajs BOOTSTRAP: each compression and acks, a group, transactions, administration.
import assert from 'node:assert/strict'
import zlib from 'node:zlib'
import { lz4Compress, lz4Decompress, snappyCompress, snappyDecompress } from '@platformatic/wasm-utils'
import kafkajs from 'kafkajs'
import { count, expect, messages, partitions, refused, wait } from './expect.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, PartitionAssigners, logLevel } = kafkajs
const codec = (compress, decompress) => () => ({ compress: async encoder => compress(encoder.buffer), decompress: async data => decompress(data) })
CompressionCodecs[CompressionTypes.Snappy] = codec(snappyCompress, snappyDecompress)
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4Compress, lz4Decompress)
CompressionCodecs[CompressionTypes.ZSTD] = codec(zlib.zstdCompressSync, zlib.zstdDecompressSync)

const kafka = new Kafka({ clientId: 'js', brokers: process.argv[2].split(','), logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const topic = 'kafkajs', out = 'kafkajs-out'

async function administer() {
  const entry = { topic, numPartitions: 2, replicationFactor: 3, configEntries: [{ name: 'min.insync.replicas', value: '2' }] }
  assert(await admin.createTopics({ topics: [entry, { topic: out, numPartitions: partitions, replicationFactor: 3 }] }))
  assert.equal(await admin.createTopics({ topics: [entry] }), false)
  await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] })
  await wait('all partitions are led', async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic, out] })
    const all = topics.flatMap(each => each.partitions)
    return all.length === 2 * partitions && all.every(each => each.leader >= 0 && each.isr.length === 3)
  })
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] })
  await wait('the setting is seen', async () => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [resource] })
    const found = resources[0].configEntries.find(each => each.configName === 'retention.ms')
    return found.configValue === '3600000' && found.configSynonyms.length === 1
  })
  const cluster = await admin.describeCluster()
  assert(cluster.brokers.length === 3 && cluster.controller >= 0 && cluster.clusterId)
  assert.deepEqual((await admin.listPartitionReassignments({})).topics, [])
}

// Reads `total` records from the beginning with a group of its own, and looks a while for more.
async function read(from, total, readUncommitted) {
  const consumer = kafka.consumer({ groupId: `read-${from}-${readUncommitted}`, readUncommitted, maxWaitTimeInMs: 100 })
  const got = Array.from({ length: partitions }, () => [])
  await consumer.connect()
  await consumer.subscribe({ topics: [from], fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => { got[partition].push(String(message.value)) } })
  await wait(`${total} records of ${from}`, () => got.flat().length >= total)
  await consumer.disconnect()
  return got
}

async function group(end) {
  const member = () => {
    const consumer = kafka.consumer({ groupId: 'js', heartbeatInterval: 300, maxWaitTimeInMs: 100, partitionAssigners: [PartitionAssigners.roundRobin] })
    const self = { consumer, has: [], read: 0 }
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { self.has = payload.memberAssignment[topic] ?? [] })
    self.start = async () => {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({ autoCommitThreshold: 100, eachMessage: async () => { self.read++ } })
    }
    return self
  }
  const all = JSON.stringify([...Array(partitions).keys()])
  const [first, second] = [member(), member()]
  await first.start()
  await wait('the first reads all', () => first.read === partitions * end - count)
  await second.start()
  await wait('two share', () => first.has.length && second.has.length && JSON.stringify([...first.has, ...second.has].sort()) === all)
  const { groups: [described] } = await admin.describeGroups(['js'])
  assert(described.state === 'Stable' && described.members.length === 2, JSON.stringify(described))
  assert((await admin.listGroups()).groups.some(each => each.groupId === 'js' && each.protocolType === 'consumer'))
  await first.consumer.disconnect()
  await wait('one has all', () => JSON.stringify([...second.has].sort()) === all)
  await second.consumer.disconnect()
  const [{ partitions: committed }] = await admin.fetchOffsets({ groupId: 'js', topics: [topic] })
  assert.deepEqual(committed.map(each => each.offset), Array(partitions).fill(String(end)))
  await admin.setOffsets({ groupId: 'js', topic, partitions: [{ partition: 0, offset: '3' }] })
  const [{ partitions: moved }] = await admin.fetchOffsets({ groupId: 'js', topics: [topic] })
  assert.equal(moved.find(each => each.partition === 0).offset, '3')
  await admin.deleteGroups(['js'])
  await refused(admin.deleteGroups(['js']), 'GROUP_ID_NOT_FOUND')
}

async function transactions() {
  const settings = { transactionalId: 'js', idempotent: true, maxInFlightRequests: 1 }
  const producer = kafka.producer(settings)
  await producer.connect()
  const aborted = await producer.transaction()
  await aborted.send({ topic: out, messages: messages('aborted') })
  await aborted.abort()
  for (const run of ['one', 'two']) {
    const transaction = await producer.transaction()
    await transaction.send({ topic: out, messages: messages(run) })
    await transaction.sendOffsets({ consumerGroupId: 'js-txn', topics: [{ topic, partitions: [{ partition: 1, offset: '7' }] }] })
    await transaction.commit()
  }
  const [{ partitions: committed }] = await admin.fetchOffsets({ groupId: 'js-txn', topics: [topic] })
  assert.deepEqual(committed.map(each => each.offset).sort(), ['-1', '-1', '7'])
  const other = kafka.producer(settings)
  await other.connect()
  await (await other.transaction()).commit()
  const fenced = await producer.transaction()
  await refused(fenced.send({ topic: out, messages: messages('never') }), 'INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED')
  await Promise.all([producer.disconnect(), other.disconnect()])
  expect(await read(out, 3 * partitions * count, true), ['aborted', 'one', 'two'])
  expect(await read(out, 2 * partitions * count, false), ['one', 'two'])
}

await admin.connect()
await administer()
const runs = []
const ends = async () => (await admin.fetchTopicOffsets(topic)).map(each => Number(each.high))
for (const [name, compression] of Object.entries(CompressionTypes)) {
  for (const how of [{ acks: 0 }, { acks: 1 }, { acks: -1 }, { acks: -1, idempotent: true }]) {
    const producer = kafka.producer({ idempotent: how.idempotent ?? false, maxInFlightRequests: 1 })
    await producer.connect()
    runs.push(`${name} ${JSON.stringify(how)}`)
    await producer.send({ topic, compression, acks: how.acks, messages: messages(runs.at(-1)) })
    await wait('what was written counts', async () => (await ends()).every(end => end === runs.length * count))
    await producer.disconnect()
  }
}
expect(await read(topic, runs.length * partitions * count, true), runs)
assert.deepEqual((await admin.fetchTopicOffsetsByTimestamp(topic, 1)).map(each => each.offset), Array(partitions).fill('0'))
await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(count) }] })
const low = (await admin.fetchTopicOffsets(topic)).find(each => each.partition === 0).low
assert.equal(low, String(count))
await transactions()
await group(runs.length * count)
await admin.deleteTopics({ topics: [topic, out] })
await wait('the topics are gone', async () => !(await admin.listTopics()).some(each => each === topic || each === out))
await refused(admin.deleteTopics({ topics: [topic] }), 'UNKNOWN_TOPIC_OR_PARTITION')
await admin.disconnect()
console.log('kafkajs: all as expected')
