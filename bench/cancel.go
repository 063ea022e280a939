// Cancel 1,000 parked goroutines: from the call until all have ended.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

func park(ready chan bool, ch chan int, ctx context.Context, all *sync.WaitGroup) {
	ready <- true
	select {
	case <-ch:
	case <-ctx.Done():
	}
	all.Done()
}

func round(width int) float64 {
	ready, ch := make(chan bool, width), make(chan int)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Add(width)
	for i := 0; i < width; i++ {
		go park(ready, ch, ctx, &all)
	}
	for i := 0; i < width; i++ {
		<-ready
	}
	start := time.Now()
	cancel()
	all.Wait()
	return time.Since(start).Seconds()
}

func rounds(n, width int) float64 {
	total := round(width) * 0
	for i := 0; i < n; i++ {
		total += round(width)
	}
	return total / float64(n)
}

func main() {
	count, width := arg(1, 20), arg(2, 1000)
	done := make(chan float64)
	go func() { done <- rounds(count, width) }()
	report(fmt.Sprintf("cancel-%d", width), <-done*1e6, "us")
}
