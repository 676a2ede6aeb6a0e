// client franz|sarama BOOTSTRAP: what Go's clients of Kafka see of three brokers. Each file does the same with its client,
// once for each version of Kafka it is told to expect: write with each compression and read all back in order, groups,
// transactions, administration.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

const partitions, perPartition = 3, 100

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(what, values...))
	}
}

func eventually(what string, holds func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		check(time.Now().Before(deadline), "gave up waiting: %s", what)
	}
}

// reading collects what comes out of a topic: every partition's values in order.
type reading map[int32][]string

func (r reading) count() (n int) {
	for _, values := range r {
		n += len(values)
	}
	return
}

// value is long enough that every compression has something to do.
func value(run string, partition, n int) string {
	return fmt.Sprintf("%s %d %03d %s", run, partition, n, strings.Repeat("=", 50+n))
}

// expect says that each partition holds the runs one after another, each complete and in order.
func (r reading) expect(runs ...string) {
	for partition := 0; partition < partitions; partition++ {
		var wanted []string
		for _, run := range runs {
			for n := 0; n < perPartition; n++ {
				wanted = append(wanted, value(run, partition, n))
			}
		}
		got := r[int32(partition)]
		check(len(got) == len(wanted), "partition %d: %d records of %d", partition, len(got), len(wanted))
		for n := range wanted {
			check(got[n] == wanted[n], "partition %d, offset %d: %q, not %q", partition, n, got[n], wanted[n])
		}
	}
}

func main() {
	brokers := strings.Split(os.Args[2], ",")
	switch os.Args[1] {
	case "franz":
		franz(brokers)
	case "sarama":
		saramas(brokers)
	}
}
