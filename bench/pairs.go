// Independent pairs of goroutines at ping-pong: with GOMAXPROCS=1 and 2, how throughput grows.
package main

import (
	"os"
	"sync"
)

func main() {
	count, pairs := arg(1, 1000000), arg(2, 8)
	all := func(n int) {
		var wg sync.WaitGroup
		wg.Add(pairs)
		for i := 0; i < pairs; i++ {
			go func() { roundTrips(n / pairs); wg.Done() }()
		}
		wg.Wait()
	}
	name := "all"
	if n := os.Getenv("GOMAXPROCS"); n != "" {
		name = n
	}
	report("pairs/"+name, measure(count, all)*1e9, "ns")
}
