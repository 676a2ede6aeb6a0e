// load drives a Kafka-compatible cluster with franz-go, a client library, and prints one JSON line:
//
//	load e2e   BOOTSTRAP TOPIC N        one record at a time, acks=all: from the call to the record in a consumer's hands
//	load conns BOOTSTRAP TOPIC N SEC    N clients, each on connections of its own, one unbatched record of 100 B in flight each
//	load steady BOOTSTRAP TOPIC RATE SEC  RATE records of 1 KiB a second from four clients: how long each acknowledgement takes
//	load rate  BOOTSTRAP TOPIC N SEC    N clients, each with 16 KiB batches of 100 B records as fast as they go
//	load groups BOOTSTRAP TOPIC N SEC   N groups of one member each: prints "ready" when all have what they consume, then only keeps
//	                                    them for SEC
//	load idle  BOOTSTRAP TOPIC N SEC    N connections, one small request on each: prints "ready", then only keeps them for SEC
//
// All that produce with acks=all and without compression. Times are in milliseconds.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func client(bootstrap, topic string, more ...kgo.Opt) *kgo.Client {
	opts := append([]kgo.Opt{kgo.SeedBrokers(split(bootstrap)...), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RetryTimeout(time.Minute)}, more...)
	c, err := kgo.NewClient(opts...)
	check(err)
	return c
}

func split(s string) (out []string) {
	at := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == ',' {
			out = append(out, s[at:i])
			at = i + 1
		}
	}
	return out
}

// quantiles prints what was measured, with p50, p99 and the greatest of the times.
func quantiles(times []time.Duration, more map[string]any) {
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(q float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[min(int(q*float64(len(times))), len(times)-1)].Microseconds()) / 1e3
	}
	more["n"], more["p50_ms"], more["p99_ms"], more["max_ms"] = len(times), at(.5), at(.99), at(1)
	check(json.NewEncoder(os.Stdout).Encode(more))
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	check(err)
	return n
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: load e2e|conns|steady|rate|groups|idle BOOTSTRAP TOPIC N [SECONDS]")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "e2e":
		e2e(os.Args[2], os.Args[3], number(4))
	case "conns":
		conns(os.Args[2], os.Args[3], number(4), time.Duration(number(5))*time.Second, 100, 1)
	case "rate":
		conns(os.Args[2], os.Args[3], number(4), time.Duration(number(5))*time.Second, 100, 1500)
	case "steady":
		steady(os.Args[2], os.Args[3], number(4), time.Duration(number(5))*time.Second)
	case "groups":
		hold(number(4), time.Duration(number(5))*time.Second, func(i int) func() { return member(os.Args[2], os.Args[3], i) })
	case "idle":
		hold(number(4), time.Duration(number(5))*time.Second, func(int) func() { return idle(os.Args[2]) })
	default:
		check(fmt.Errorf("%q is none of e2e, conns, steady, rate, groups, idle", os.Args[1]))
	}
}

func e2e(bootstrap, topic string, n int) {
	ctx := context.Background()
	producer := client(bootstrap, topic)
	consumer := client(bootstrap, topic, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	value := make([]byte, 100)
	var times []time.Duration
	for i := -n / 10; i < n; i++ { // the first tenth warms up and does not count
		begin := time.Now()
		producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { check(err) })
		for got := 0; got == 0; {
			fetches := consumer.PollFetches(ctx)
			for _, err := range fetches.Errors() {
				check(err.Err)
			}
			got = fetches.NumRecords()
		}
		if i >= 0 {
			times = append(times, time.Since(begin))
		}
	}
	quantiles(times, map[string]any{})
}

// conns keeps `window` records in flight on each of n clients.
func conns(bootstrap, topic string, n int, length time.Duration, size, window int) {
	ctx := context.Background()
	var count atomic.Int64
	var started, done sync.WaitGroup
	begin := make(chan struct{})
	var measuring, stop atomic.Bool
	var lock sync.Mutex
	var times []time.Duration
	for i := 0; i < n; i++ {
		started.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			opts := []kgo.Opt{kgo.ProducerLinger(0)}
			if window == 1 {
				opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
			} else {
				opts = append(opts, kgo.ProducerBatchMaxBytes(16384))
			}
			c := client(bootstrap, topic, opts...)
			value := make([]byte, size)
			check(c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr())
			started.Done()
			<-begin
			var mine []time.Duration
			if window == 1 {
				for !stop.Load() {
					at := time.Now()
					check(c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr())
					if measuring.Load() {
						count.Add(1)
						mine = append(mine, time.Since(at))
					}
				}
			} else {
				slots := make(chan struct{}, window)
				for k := 0; !stop.Load(); k++ {
					slots <- struct{}{}
					at, sampled := time.Now(), k%16 == 0
					c.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
						check(err)
						<-slots
						if measuring.Load() {
							count.Add(1)
							if sampled {
								lock.Lock()
								times = append(times, time.Since(at))
								lock.Unlock()
							}
						}
					})
				}
				check(c.Flush(ctx))
			}
			lock.Lock()
			times = append(times, mine...)
			lock.Unlock()
			c.Close()
		}()
		if i%50 == 49 {
			started.Wait() // not all handshakes at once
		}
	}
	started.Wait()
	close(begin)
	time.Sleep(length / 4)
	measuring.Store(true)
	from := time.Now()
	time.Sleep(length)
	measuring.Store(false)
	rate := float64(count.Load()) / time.Since(from).Seconds()
	stop.Store(true)
	done.Wait()
	quantiles(times, map[string]any{"clients": n, "msgs_per_s": int(rate)})
}

func steady(bootstrap, topic string, rate int, length time.Duration) {
	ctx := context.Background()
	var lock sync.Mutex
	var times []time.Duration
	var done sync.WaitGroup
	const clients = 4
	for i := 0; i < clients; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			c := client(bootstrap, topic, kgo.ProducerLinger(0))
			value := make([]byte, 1024)
			check(c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr())
			every := time.Duration(int(time.Second) * clients / rate)
			begin := time.Now()
			for next := begin; next.Before(begin.Add(length)); next = next.Add(every) {
				time.Sleep(time.Until(next))
				at := next                              // what waits behind a slow one counts as slow
				settled := at.Sub(begin) >= time.Second // until then the clients themselves start
				c.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
					check(err)
					if settled {
						lock.Lock()
						times = append(times, time.Since(at))
						lock.Unlock()
					}
				})
			}
			check(c.Flush(ctx))
			c.Close()
		}()
	}
	done.Wait()
	quantiles(times, map[string]any{})
}

// hold starts n of something, thirty at once, says that all are there, and ends them after a while.
func hold(n int, length time.Duration, start func(int) (end func())) {
	begin := time.Now()
	ends := make([]func(), n)
	var done sync.WaitGroup
	slots := make(chan struct{}, 30)
	for i := range ends {
		slots <- struct{}{}
		done.Add(1)
		go func(i int) {
			defer done.Done()
			ends[i] = start(i)
			<-slots
		}(i)
	}
	done.Wait()
	fmt.Println("ready")
	took := time.Since(begin)
	time.Sleep(length)
	for _, end := range ends {
		done.Add(1)
		go func(end func()) {
			defer done.Done()
			end()
		}(end)
	}
	done.Wait()
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"n": n, "ready_s": took.Seconds()}))
}

// member joins a group of its own, and reads what the topic has until it has its first record.
func member(bootstrap, topic string, i int) func() {
	c, err := kgo.NewClient(kgo.SeedBrokers(split(bootstrap)...), kgo.ConsumerGroup(fmt.Sprintf("group-%d", i)), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(5*time.Second))
	check(err)
	for got := 0; got == 0; {
		fetches := c.PollFetches(context.Background())
		for _, err := range fetches.Errors() {
			check(err.Err)
		}
		got = fetches.NumRecords()
	}
	go func() {
		for !c.PollFetches(context.Background()).IsClientClosed() {
		}
	}()
	return c.Close
}

// idle opens a connection and has one small request, ApiVersions, answered on it.
func idle(bootstrap string) func() {
	connection, err := net.Dial("tcp", split(bootstrap)[0])
	check(err)
	_, err = connection.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255})
	check(err)
	_, err = io.ReadFull(connection, make([]byte, 4))
	check(err)
	return func() { check(connection.Close()) }
}
