// @platformatic/kafka BOOTSTRAP: each compression and acks, groups of both protocols, transactions, administration.
import assert from 'node:assert/strict'
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { count, expect, messages, partitions, refused, wait } from './expect.mjs'

const base = { clientId: 'pf', bootstrapBrokers: process.argv[2].split(','), retries: 10, retryDelay: 200 }
const admin = new Admin(base)
const topic = 'platformatic', out = 'platformatic-out'
const sorted = list => JSON.stringify([...list].sort())
const all = sorted(Array(partitions).keys())

async function administer() {
  const configs = [{ name: 'min.insync.replicas', value: '2' }]
  const [made] = await admin.createTopics({ topics: [topic], partitions: 2, replicas: 3, configs })
  assert(made.id && made.partitions === 2 && made.replicas === 3, JSON.stringify(made))
  await admin.createTopics({ topics: [out], partitions, replicas: 3 })
  await refused(admin.createTopics({ topics: [topic] }), 'TOPIC_ALREADY_EXISTS')
  await admin.createPartitions({ topics: [{ name: topic, count: partitions, assignments: null }] })
  await wait('all partitions are led', async () => {
    const { topics } = await admin.metadata({ topics: [topic, out], forceUpdate: true })
    const found = [...topics.values()].flatMap(each => each.partitions)
    return found.length === 2 * partitions && found.every(each => each.leader >= 0 && each.isr.length === 3)
  })
  await admin.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: topic,
    configs: [{ name: 'retention.ms', configOperation: 0, value: '3600000' }] }] })
  await wait('the setting is seen', async () => {
    const [{ configs }] = await admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: topic, configurationKeys: null }] })
    const value = name => configs.find(each => each.name === name).value
    return value('retention.ms') === '3600000' && value('min.insync.replicas') === '2'
  })
  const dirs = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0, 1, 2] }] })
  assert.equal(dirs.length, 3)
}

const producer = more => new Producer({ ...base, serializers: stringSerializers, ...more })
const addressed = (to, run) => messages(run).map(each => ({ ...each, topic: to }))

function member(groupId, from, more) {
  const consumer = new Consumer({ ...base, groupId, deserializers: stringDeserializers, maxWaitTime: 100, ...more })
  const self = { consumer, got: Array.from({ length: partitions }, () => []), last: new Map() }
  self.read = () => self.got.flat().length
  self.has = () => (consumer.assignments ?? []).filter(each => each.topic === from).flatMap(each => each.partitions)
  self.start = async () => {
    self.stream = await consumer.consume({ topics: [from], mode: 'committed', fallbackMode: 'earliest', autocommit: false })
    self.stream.on('data', message => {
      self.got[message.partition].push(message.value)
      self.last.set(message.partition, message)
    })
  }
  self.stop = async () => {
    await self.stream.close()
    await consumer.close()
  }
  return self
}

async function read(from, total, isolationLevel) {
  const reader = member(`read-${from}-${isolationLevel}`, from, { isolationLevel })
  await reader.start()
  await wait(`${total} records of ${from}`, () => reader.read() >= total)
  await reader.stop()
  return reader.got
}

async function group(groupId, end, more) {
  const [first, second] = [member(groupId, topic, more), member(groupId, topic, more)]
  await first.start()
  await wait('the first reads all', () => first.read() === partitions * end - count)
  for (const message of first.last.values()) await message.commit()
  await second.start()
  await wait('two share', () => first.has().length && second.has().length && sorted([...first.has(), ...second.has()]) === all)
  if (!more.groupProtocol) {
    const described = (await admin.describeGroups({ groups: [groupId] })).get(groupId)
    assert(described.state === 'Stable' && described.members.size === 2, JSON.stringify(described))
  }
  assert((await admin.listGroups({ types: ['classic', 'consumer'] })).has(groupId))
  await first.stop()
  await wait('one has all', () => sorted(second.has()) === all)
  await second.stop()
  const [{ topics: [committed] }] = await admin.listConsumerGroupOffsets({ groups: [groupId] })
  assert.deepEqual(committed.partitions.map(each => each.committedOffset), Array(partitions).fill(BigInt(end)))
  await admin.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 3n }] }] })
  await admin.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [1] }] })
  const [{ topics: [moved] }] = await admin.listConsumerGroupOffsets({ groups: [groupId] })
  assert.equal(moved.partitions.length, 2)
  assert.equal(moved.partitions.find(each => each.partitionIndex === 0).committedOffset, 3n)
  await admin.deleteGroups({ groups: [groupId] })
}

async function transactions() {
  const settings = { transactionalId: 'pf', idempotent: true }
  const writer = producer(settings)
  const aborted = await writer.beginTransaction()
  await aborted.send({ messages: addressed(out, 'aborted') })
  await aborted.abort()
  const consumer = member('pf-txn', topic, {})
  await consumer.start()
  await wait('something to read', () => consumer.last.size === partitions)
  for (const run of ['one', 'two']) {
    const transaction = await writer.beginTransaction()
    await transaction.send({ messages: addressed(out, run) })
    await transaction.addConsumer(consumer.consumer)
    for (const message of consumer.last.values()) await transaction.addOffset(message)
    await transaction.commit()
  }
  const [{ topics: [committed] }] = await admin.listConsumerGroupOffsets({ groups: ['pf-txn'] })
  assert(committed.partitions.length === partitions && committed.partitions.every(each => each.committedOffset > 0n))
  await consumer.stop()
  await writer.close()
  expect(await read(out, 3 * partitions * count, 0), ['aborted', 'one', 'two'])
  expect(await read(out, 2 * partitions * count, 1), ['one', 'two'])
}

await administer()
const runs = []
const offsets = async (which, timestamp) => {
  const asked = [{ name: which, partitions: [...Array(partitions).keys()].map(partitionIndex => ({ partitionIndex, timestamp })) }]
  const [{ partitions: found }] = await admin.listOffsets({ topics: asked })
  return found.sort((a, b) => a.partitionIndex - b.partitionIndex).map(each => Number(each.offset))
}
for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  for (const how of [{ acks: 0 }, { acks: 1 }, { acks: -1 }, { acks: -1, idempotent: true }]) {
    const writer = producer(how)
    runs.push(`${compression} ${JSON.stringify(how)}`)
    await writer.send({ compression, acks: how.acks, messages: addressed(topic, runs.at(-1)) })
    await wait('what was written counts', async () => (await offsets(topic, -1n)).every(end => end === runs.length * count))
    await writer.close()
  }
}
expect(await read(topic, runs.length * partitions * count, 0), runs)
assert.deepEqual(await offsets(topic, 1n), [0, 0, 0])
await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: BigInt(count) }] }] })
assert.deepEqual(await offsets(topic, -2n), [count, 0, 0])
await transactions()
await group('pf-classic', runs.length * count, { heartbeatInterval: 300, sessionTimeout: 10000 })
await group('pf-consumer', runs.length * count, { groupProtocol: 'consumer' })
await admin.deleteTopics({ topics: [topic, out] })
await wait('the topics are gone', async () => !(await admin.listTopics()).some(each => each === topic || each === out))
await admin.close()
console.log('@platformatic/kafka: all as expected')
