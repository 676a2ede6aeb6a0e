// What the two clients' programs share: the records they write and what must come back.
import assert from 'node:assert/strict'

export const partitions = 3
export const count = 100
export const value = (run, partition, number) => `${run} ${partition} ${number} ${'='.repeat(50 + number)}`

// The messages of a run, for all partitions in turn.
export function messages(run) {
  const all = []
  for (let number = 0; number < count; number++) {
    for (let partition = 0; partition < partitions; partition++) {
      all.push({ partition, key: String(number), value: value(run, partition, number), headers: { run } })
    }
  }
  return all
}

// `got` is a list of values for each partition: the runs one after another and nothing else.
export function expect(got, runs) {
  for (let partition = 0; partition < partitions; partition++) {
    const wanted = runs.flatMap(run => Array.from({ length: count }, (_, number) => value(run, partition, number)))
    assert.deepEqual(got[partition] ?? [], wanted, `partition ${partition}`)
  }
}

export async function wait(what, holds, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  while (!(await holds())) {
    assert(Date.now() < deadline, `gave up waiting: ${what}`)
    await new Promise(done => setTimeout(done, 50))
  }
}

// It fails, and its code or its causes' is one of these.
export async function refused(promise, ...codes) {
  try {
    await promise
  } catch (problem) {
    const all = [problem, problem.cause, ...(problem.errors ?? []), ...(problem.groups ?? []).map(each => each.error)].flatMap(each => [each, ...(each?.errors ?? []), each?.cause])
    const found = all.flatMap(each => [each?.type, each?.apiId, each?.code])
    assert(found.some(each => codes.includes(each)), `${codes}: ${found} ${problem.stack}`)
    return
  }
  assert.fail(`not refused with ${codes}`)
}
