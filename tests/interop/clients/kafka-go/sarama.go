package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func saramas(brokers []string) {
	var all sync.WaitGroup
	for _, version := range []struct {
		name   string
		expect sarama.KafkaVersion
	}{
		{"0.11", sarama.V0_11_0_0}, {"1.0", sarama.V1_0_0_0}, {"default", sarama.DefaultVersion}, {"newest", sarama.MaxVersion},
	} {
		s := saramaRun{brokers, "sarama-" + version.name, version.expect}
		all.Go(func() {
			s.administer()
			s.produceAndConsume()
			s.transactions()
			s.group(sarama.NewBalanceStrategyRange())
			s.group(sarama.NewBalanceStrategySticky())
			s.remove()
			fmt.Println("sarama as with Kafka", version.expect)
		})
	}
	all.Wait()
}

type saramaRun struct {
	brokers []string
	name    string
	version sarama.KafkaVersion
}

func (s saramaRun) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = s.version
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	return config
}

func (s saramaRun) idempotent() *sarama.Config {
	config := s.config()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	return config
}

// endOfFirst is an administrator, a client, and the end of the topic's first partition.
func (s saramaRun) endOfFirst() (sarama.ClusterAdmin, sarama.Client, int64) {
	client, err := sarama.NewClient(s.brokers, s.config())
	must(err)
	end, err := client.GetOffset(s.name, 0, sarama.OffsetNewest)
	must(err)
	return s.admin(), client, end
}

func (s saramaRun) admin() sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin(s.brokers, s.config())
	must(err)
	return admin
}

func (s saramaRun) administer() {
	admin := s.admin()
	defer admin.Close()
	before, two, hour := int32(2), "2", "3600000"
	if !s.version.IsAtLeast(sarama.V1_0_0_0) {
		before = partitions
	}
	topic := &sarama.TopicDetail{NumPartitions: before, ReplicationFactor: 3, ConfigEntries: map[string]*string{"min.insync.replicas": &two}}
	must(admin.CreateTopic(s.name, topic, false))
	check(errors.Is(admin.CreateTopic(s.name, topic, false), sarama.ErrTopicAlreadyExists), "a topic was created twice")
	must(admin.CreateTopic(s.name+"-out", &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 3}, false))
	if before < partitions {
		must(admin.CreatePartitions(s.name, partitions, nil, false))
	}
	eventually("all partitions are led", func() bool {
		topics, err := admin.DescribeTopics([]string{s.name, s.name + "-out"})
		must(err)
		led := 0
		for _, topic := range topics {
			for _, partition := range topic.Partitions {
				if partition.Err == sarama.ErrNoError && len(partition.Isr) == 3 {
					led++
				}
			}
		}
		return led == 2*partitions
	})
	must(admin.AlterConfig(sarama.TopicResource, s.name, map[string]*string{"retention.ms": &hour, "min.insync.replicas": &two}, false))
	if s.version.IsAtLeast(sarama.V2_3_0_0) {
		must(admin.IncrementalAlterConfig(sarama.TopicResource, s.name,
			map[string]sarama.IncrementalAlterConfigsEntry{"segment.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &hour}}, false))
	}
	eventually("the setting is seen", func() bool {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: s.name})
		must(err)
		for _, entry := range entries {
			if entry.Name == "retention.ms" && entry.Value == hour {
				return true
			}
		}
		return false
	})
	// Any broker is asked; one may hear of the new partition later than another.
	eventually("the topic is listed with its partitions", func() bool {
		topics, err := admin.ListTopics()
		must(err)
		return topics[s.name].NumPartitions == partitions
	})
	nodes, controller, err := admin.DescribeCluster()
	must(err)
	check(len(nodes) == 3 && controller >= 0, "%d nodes, controller %d", len(nodes), controller)
	if s.version.IsAtLeast(sarama.V1_0_0_0) {
		dirs, err := admin.DescribeLogDirs([]int32{0, 1, 2})
		must(err)
		check(len(dirs) == 3, "log directories: %v", dirs)
	}
}

func (s saramaRun) produceAndConsume() {
	var runs []string
	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4}
	if s.version.IsAtLeast(sarama.V2_1_0_0) {
		codecs = append(codecs, sarama.CompressionZSTD)
	}
	for _, codec := range codecs {
		for _, config := range []*sarama.Config{s.config(), s.idempotent()} {
			config.Producer.Compression = codec
			producer, err := sarama.NewSyncProducer(s.brokers, config)
			must(err)
			runs = append(runs, fmt.Sprintf("%s, idempotent %v", codec, config.Producer.Idempotent))
			must(producer.SendMessages(s.messages(s.name, runs[len(runs)-1])))
			must(producer.Close())
		}
	}
	s.read(s.name, len(runs)*partitions*perPartition, sarama.ReadUncommitted).expect(runs...)

	admin, client, end := s.endOfFirst()
	defer admin.Close()
	defer client.Close()
	check(end == int64(len(runs)*perPartition), "the end is %d", end)
	first, err := client.GetOffset(s.name, 1, time.Now().Add(-time.Hour).UnixMilli())
	must(err)
	check(first == 0, "an hour ago: %d", first)
	must(admin.DeleteRecords(s.name, map[int32]int64{0: perPartition}))
	start, err := client.GetOffset(s.name, 0, sarama.OffsetOldest)
	must(err)
	check(start == perPartition, "the start is %d", start)
}

func (s saramaRun) messages(topic, run string) (messages []*sarama.ProducerMessage) {
	for n := 0; n < perPartition; n++ {
		for p := 0; p < partitions; p++ {
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(p), Key: sarama.StringEncoder(run),
				Value: sarama.StringEncoder(value(run, p, n)), Headers: []sarama.RecordHeader{{Key: []byte("run"), Value: []byte(run)}}})
		}
	}
	return
}

func (s saramaRun) read(topic string, count int, isolation sarama.IsolationLevel) reading {
	config := s.config()
	config.Consumer.IsolationLevel = isolation
	consumer, err := sarama.NewConsumer(s.brokers, config)
	must(err)
	got, lock := reading{}, sync.Mutex{}
	var all []sarama.PartitionConsumer
	for p := int32(0); p < partitions; p++ {
		partition, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		must(err)
		all = append(all, partition)
		go func() {
			for message := range partition.Messages() {
				lock.Lock()
				got[message.Partition] = append(got[message.Partition], string(message.Value))
				lock.Unlock()
			}
		}()
	}
	eventually(fmt.Sprint(count, " records of ", topic), func() bool {
		lock.Lock()
		defer lock.Unlock()
		return got.count() >= count
	})
	time.Sleep(300 * time.Millisecond) // there are no others
	for _, partition := range all {
		must(partition.Close())
	}
	must(consumer.Close())
	return got
}

func (s saramaRun) transactions() {
	out, group := s.name+"-out", s.name+"-txn"
	config := s.idempotent()
	config.Producer.Transaction.ID = s.name
	producer, err := sarama.NewSyncProducer(s.brokers, config)
	must(err)
	must(producer.BeginTxn())
	must(producer.SendMessages(s.messages(out, "aborted")))
	must(producer.AbortTxn())
	must(producer.BeginTxn())
	must(producer.SendMessages(s.messages(out, "committed")))
	must(producer.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{s.name: {{Partition: 1, Offset: 7}}}, group))
	must(producer.CommitTxn())
	fenced := producer
	producer, err = sarama.NewSyncProducer(s.brokers, config)
	must(err)
	must(fenced.BeginTxn())
	err = fenced.SendMessages(s.messages(out, "fenced")[:1])
	check(err != nil, "a fenced producer wrote")
	fenced.Close()
	must(producer.Close())
	count := partitions * perPartition
	s.read(out, 2*count, sarama.ReadUncommitted).expect("aborted", "committed")
	s.read(out, count, sarama.ReadCommitted).expect("committed")
	admin := s.admin()
	defer admin.Close()
	offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{s.name: {0, 1}})
	must(err)
	check(offsets.GetBlock(s.name, 1).Offset == 7 && offsets.GetBlock(s.name, 0).Offset == -1, "offsets of the transaction: %+v", offsets)
}

// member of a group: what it has and what it read.
type member struct {
	lock sync.Mutex
	has  []int32
	read int
	stop context.CancelFunc
	done chan struct{}
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, claimed := range session.Claims() {
		m.has = claimed
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.has = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.lock.Lock()
		m.read++
		m.lock.Unlock()
		session.MarkMessage(message, "seen")
	}
	return nil
}

func (m *member) state() (has, read int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return len(m.has), m.read
}

func (s saramaRun) group(strategy sarama.BalanceStrategy) {
	name := s.name + "-" + strategy.Name()
	join := func() *member {
		config := s.config()
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		group, err := sarama.NewConsumerGroup(s.brokers, name, config)
		must(err)
		ctx, stop := context.WithCancel(context.Background())
		m := &member{stop: stop, done: make(chan struct{})}
		go func() {
			defer close(m.done)
			for ctx.Err() == nil {
				must(group.Consume(ctx, []string{s.name}, m))
			}
			must(group.Close())
		}()
		return m
	}
	admin, client, end := s.endOfFirst()
	defer admin.Close()
	defer client.Close()
	first := join()
	eventually("the first reads all", func() bool {
		has, read := first.state()
		return has == partitions && read == int(end)*partitions-perPartition
	})
	second := join()
	eventually("two share", func() bool {
		one, _ := first.state()
		two, _ := second.state()
		return one > 0 && two > 0 && one+two == partitions
	})
	described, err := admin.DescribeConsumerGroups([]string{name})
	must(err)
	check(len(described[0].Members) == 2 && described[0].State == "Stable", "described: %+v", described[0])
	groups, err := admin.ListConsumerGroups()
	must(err)
	check(groups[name] == "consumer", "listed: %v", groups)
	first.stop()
	<-first.done
	eventually("one has all", func() bool { has, _ := second.state(); return has == partitions })
	second.stop()
	<-second.done
	offsets, err := admin.ListConsumerGroupOffsets(name, map[string][]int32{s.name: {0, 1, 2}})
	must(err)
	for p := int32(0); p < partitions; p++ {
		block := offsets.GetBlock(s.name, p)
		check(block.Offset == end && block.Metadata == "seen", "committed: %+v", block)
	}
	if s.version.IsAtLeast(sarama.V2_4_0_0) {
		must(admin.DeleteConsumerGroupOffset(name, s.name, 0))
	}
	if s.version.IsAtLeast(sarama.V1_1_0_0) {
		must(admin.DeleteConsumerGroup(name))
	}
}

func (s saramaRun) remove() {
	admin := s.admin()
	defer admin.Close()
	must(admin.DeleteTopic(s.name))
	must(admin.DeleteTopic(s.name + "-out"))
	eventually("the topics are gone", func() bool {
		topics, err := admin.ListTopics()
		must(err)
		_, one := topics[s.name]
		_, two := topics[s.name+"-out"]
		return !one && !two
	})
}
