package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

func franz(brokers []string) {
	var all sync.WaitGroup
	for _, version := range []struct {
		name string
		max  *kversion.Versions
	}{
		{"0.11", kversion.V0_11_0()}, {"1.1", kversion.V1_1_0()}, {"2.4", kversion.V2_4_0()}, {"3.0", kversion.V3_0_0()},
		{"3.9", kversion.V3_9_0()}, {"4.4", kversion.V4_4_0()}, {"default", nil},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
		defer cancel()
		common := []kgo.Opt{kgo.SeedBrokers(brokers...)}
		if version.max != nil {
			common = append(common, kgo.MaxVersions(version.max))
		}
		f := franzRun{ctx, "franz-" + version.name, common}
		all.Go(func() {
			f.administer()
			f.produceAndConsume()
			f.transactions()
			f.group("classic")
			if version.name == "4.4" || version.name == "default" {
				f.group("consumer", kgo.ServerSideBalancer())
			}
			f.remove()
			fmt.Println("franz-go as with Kafka", version.name)
		})
	}
	all.Wait()
}

type franzRun struct {
	ctx    context.Context
	name   string
	common []kgo.Opt
}

func (f franzRun) client(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, f.common...), opts...)...)
	must(err)
	return client
}

func (f franzRun) admin() *kadm.Client { return kadm.NewClient(f.client()) }

func pointer(s string) *string { return &s }

func (f franzRun) administer() {
	admin := f.admin()
	defer admin.Close()
	before := int32(2)
	if f.name == "franz-0.11" { // CreatePartitions is of 1.0
		before = partitions
	}
	_, err := admin.CreateTopic(f.ctx, before, 3, map[string]*string{"min.insync.replicas": pointer("2")}, f.name)
	must(err)
	_, err = admin.CreateTopic(f.ctx, 2, 3, nil, f.name)
	check(errors.Is(err, kerr.TopicAlreadyExists), "a second time: %v", err)
	if before < partitions {
		grown, err := admin.UpdatePartitions(f.ctx, partitions, f.name)
		must(err)
		must(grown[f.name].Err)
	}
	_, err = admin.CreateTopic(f.ctx, partitions, 3, nil, f.name+"-out")
	must(err)
	eventually("all partitions are led", func() bool {
		topics, err := admin.ListTopics(f.ctx, f.name, f.name+"-out")
		must(err)
		led := 0
		for _, topic := range topics {
			for _, partition := range topic.Partitions {
				if partition.Leader >= 0 && len(partition.ISR) == 3 {
					led++
				}
			}
		}
		return led == 2*partitions
	})
	altered, err := admin.AlterTopicConfigsState(f.ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: pointer("3600000")},
		{Name: "min.insync.replicas", Value: pointer("2")}}, f.name)
	must(err)
	must(altered[0].Err)
	eventually("the setting is seen", func() bool {
		configs, err := admin.DescribeTopicConfigs(f.ctx, f.name)
		must(err)
		must(configs[0].Err)
		for _, config := range configs[0].Configs {
			if config.Key == "retention.ms" && *config.Value == "3600000" {
				return true
			}
		}
		return false
	})
	meta, err := admin.BrokerMetadata(f.ctx)
	must(err)
	check(len(meta.Brokers) == 3 && meta.Controller >= 0 && meta.Cluster != "", "brokers: %+v", meta)
}

func (f franzRun) produceAndConsume() {
	var runs []string
	write := func(run string, opts ...kgo.Opt) {
		client := f.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond))...)
		defer client.Close()
		var records []*kgo.Record
		for n := 0; n < perPartition; n++ {
			for p := 0; p < partitions; p++ {
				records = append(records, &kgo.Record{Topic: f.name, Partition: int32(p), Key: []byte{byte(n)}, Value: []byte(value(run, p, n)),
					Headers: []kgo.RecordHeader{{Key: "run", Value: []byte(run)}}})
			}
		}
		must(client.ProduceSync(f.ctx, records...).FirstErr())
		runs = append(runs, run)
	}
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		write(name, kgo.ProducerBatchCompression(codec)) // idempotent
		write(name+"-plain", kgo.ProducerBatchCompression(codec), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()),
			kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	f.read(len(runs)*partitions*perPartition, kgo.ConsumeTopics(f.name)).expect(runs...)

	admin := f.admin()
	defer admin.Close()
	ends, err := admin.ListEndOffsets(f.ctx, f.name)
	must(err)
	must(ends.Error())
	end, _ := ends.Lookup(f.name, 0)
	check(end.Offset == int64(len(runs)*perPartition), "the end is %+v", end)
	later, err := admin.ListOffsetsAfterMilli(f.ctx, time.Now().Add(-time.Hour).UnixMilli(), f.name)
	must(err)
	first, _ := later.Lookup(f.name, 1)
	check(first.Offset == 0 && first.Err == nil, "an hour ago: %+v", first)
	deleted, err := admin.DeleteRecords(f.ctx, kadm.Offsets{f.name: {0: {Topic: f.name, Partition: 0, At: perPartition}}})
	must(err)
	low, _ := deleted.Lookup(f.name, 0)
	check(low.Err == nil && low.LowWatermark == perPartition, "deleted: %+v", low)
	starts, err := admin.ListStartOffsets(f.ctx, f.name)
	must(err)
	start, _ := starts.Lookup(f.name, 0)
	check(start.Offset == perPartition, "the start is %+v", start)
}

// read takes so many records, and half a second more to see that there are no others.
func (f franzRun) read(count int, opts ...kgo.Opt) reading {
	client := f.client(append([]kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500 * time.Millisecond)}, opts...)...)
	defer client.Close()
	got := reading{}
	ctx, cancel := f.ctx, context.CancelFunc(func() {})
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil && ctx != f.ctx {
			cancel()
			return got
		}
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { got[r.Partition] = append(got[r.Partition], string(r.Value)) })
		if got.count() >= count && ctx == f.ctx {
			ctx, cancel = context.WithTimeout(f.ctx, 500*time.Millisecond)
		}
	}
}

func (f franzRun) transactions() {
	out := f.name + "-out"
	session, err := kgo.NewGroupTransactSession(append(append([]kgo.Opt{}, f.common...), kgo.TransactionalID(f.name), kgo.ConsumerGroup(f.name+"-txn"),
		kgo.ConsumeTopics(f.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(30*time.Second), kgo.RequireStableFetchOffsets())...)
	must(err)
	copied := 0
	for round := 0; copied < 3*perPartition; round++ {
		commit := round%2 == 1
		must(session.Begin())
		for n := 0; n < perPartition; n++ {
			for p := 0; p < partitions; p++ {
				run := "aborted"
				if commit {
					run = fmt.Sprint("committed-", round)
				}
				session.Produce(f.ctx, &kgo.Record{Topic: out, Partition: int32(p), Value: []byte(value(run, p, n))}, func(_ *kgo.Record, err error) { must(err) })
			}
		}
		fetches := session.PollFetches(f.ctx)
		must(fetches.Err())
		check(fetches.NumRecords() > 0, "nothing to read in a transaction")
		must(session.Client().Flush(f.ctx))
		committed, err := session.End(f.ctx, kgo.TransactionEndTry(commit))
		must(err)
		check(committed == commit, "committed %v, wanted %v", committed, commit)
		if commit {
			copied += fetches.NumRecords()
			if round == 3 {
				break
			}
		}
	}
	session.Close()
	count := partitions * perPartition
	everything := f.read(2*count, kgo.ConsumeTopics(out))
	check(everything.count() > count, "read_uncommitted saw %d", everything.count())
	committed := f.read(count, kgo.ConsumeTopics(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if committed.count() == count {
		committed.expect("committed-1")
	} else {
		committed.expect("committed-1", "committed-3")
	}
	admin := f.admin()
	defer admin.Close()
	offsets, err := admin.FetchOffsets(f.ctx, f.name+"-txn")
	must(err)
	check(len(offsets.Offsets()[f.name]) > 0, "no offsets of the transaction: %v", offsets)
}

// group: two members share, one leaves, the other has it all; what they committed is there.
func (f franzRun) group(kind string, opts ...kgo.Opt) {
	name := f.name + "-" + kind
	owned := make([]map[int32]bool, 2)
	lock := make(chan struct{}, 1)
	member := func(index int) *kgo.Client {
		owned[index] = map[int32]bool{}
		change := func(now bool) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
				lock <- struct{}{}
				for _, p := range changed[f.name] {
					if now {
						owned[index][p] = true
					} else {
						delete(owned[index], p)
					}
				}
				<-lock
			}
		}
		return f.client(append([]kgo.Opt{kgo.ConsumerGroup(name), kgo.ConsumeTopics(f.name), kgo.OnPartitionsAssigned(change(true)),
			kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)), kgo.HeartbeatInterval(300 * time.Millisecond),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
	}
	sizes := func() (int, int) {
		lock <- struct{}{}
		defer func() { <-lock }()
		return len(owned[0]), len(owned[1])
	}
	first := member(0)
	read := 0
	for total := partitions*perPartition*10 - perPartition; read < total; {
		fetches := first.PollFetches(f.ctx)
		must(fetches.Err())
		read += fetches.NumRecords()
	}
	must(first.CommitUncommittedOffsets(f.ctx))
	second := member(1)
	ctx, stop := context.WithCancel(f.ctx)
	for _, client := range []*kgo.Client{first, second} {
		go func() {
			for ctx.Err() == nil {
				client.PollFetches(ctx)
			}
		}()
	}
	eventually("two share", func() bool { a, b := sizes(); return a > 0 && b > 0 && a+b == partitions })
	admin := f.admin()
	defer admin.Close()
	if kind == "consumer" {
		described := admin.DescribeConsumerGroups
		groups, err := described(f.ctx, name)
		must(err)
		check(len(groups[name].Members) == 2 && groups[name].State == "Stable", "described: %+v", groups[name])
	} else {
		groups, err := admin.DescribeGroups(f.ctx, name)
		must(err)
		check(len(groups[name].Members) == 2, "described: %+v", groups[name])
	}
	listed, err := admin.ListGroups(f.ctx)
	must(err)
	_, there := listed[name]
	check(there, "%s is not listed", name)
	first.LeaveGroup()
	eventually("one has all", func() bool { _, b := sizes(); return b == partitions })
	stop()
	first.Close()
	second.LeaveGroup()
	second.Close()
	offsets, err := admin.FetchOffsets(f.ctx, name)
	must(err)
	for p := int32(0); p < partitions; p++ {
		at, _ := offsets.Lookup(f.name, p)
		check(at.At == 10*perPartition, "committed %+v", at)
	}
}

func (f franzRun) remove() {
	admin := f.admin()
	defer admin.Close()
	if f.name != "franz-0.11" { // DeleteGroups is of 1.1
		eventually("the group can go", func() bool {
			response, _ := admin.DeleteGroup(f.ctx, f.name+"-classic")
			return response.Err == nil
		})
	}
	gone, err := admin.DeleteTopics(f.ctx, f.name, f.name+"-out")
	must(err)
	must(gone.Error())
	eventually("the topics are gone", func() bool {
		topics, err := admin.ListTopics(f.ctx)
		must(err)
		return !topics.Has(f.name) && !topics.Has(f.name+"-out")
	})
}
