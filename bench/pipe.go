// Integers from some producers to as many consumers over one channel.
package main

import (
	"fmt"
	"sync"
)

func produce(ch chan int, n int) {
	for i := 0; i < n; i++ {
		ch <- i
	}
}

func consume(ch chan int, n int) {
	for i := 0; i < n; i++ {
		<-ch
	}
}

func main() {
	count, peers, capacity := arg(1, 1000000), arg(2, 1), arg(3, 128)
	transfer := func(n int) {
		ch := make(chan int, capacity)
		var all sync.WaitGroup
		all.Add(2 * peers)
		for i := 0; i < peers; i++ {
			go func() { consume(ch, n/peers); all.Done() }()
			go func() { produce(ch, n/peers); all.Done() }()
		}
		all.Wait()
	}
	name := fmt.Sprintf("%d-to-%d/%d", peers, peers, capacity)
	report(name, measure(count, transfer)*1e9, "ns")
}
