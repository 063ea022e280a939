// The recursive or over 1,000 channels: from closing the last of them to the end of the wait.
package main

import (
	"fmt"
	"runtime"
	"time"
)

func or(channels ...<-chan struct{}) <-chan struct{} {
	switch len(channels) {
	case 0:
		return nil
	case 1:
		return channels[0]
	}
	orDone := make(chan struct{})
	go func() {
		defer close(orDone)
		if len(channels) == 2 {
			select {
			case <-channels[0]:
			case <-channels[1]:
			}
			return
		}
		select {
		case <-channels[0]:
		case <-channels[1]:
		case <-channels[2]:
		case <-or(append(channels[3:], orDone)...):
		}
	}()
	return orDone
}

// How many goroutines the tree takes: one per level, each of which takes off two channels.
func levels(width int) int { return width / 2 }

func waitForGoroutines(n int) {
	for runtime.NumGoroutine() != n {
		runtime.Gosched()
	}
	runtime.Gosched()
}

func round(width int) float64 {
	channels := make([]<-chan struct{}, width)
	var last chan struct{}
	for i := range channels {
		last = make(chan struct{})
		channels[i] = last
	}
	before := runtime.NumGoroutine()
	either := or(channels...)
	waitForGoroutines(before + levels(width))
	start := time.Now()
	close(last)
	<-either
	elapsed := time.Since(start).Seconds()
	waitForGoroutines(before)
	return elapsed
}

func rounds(n, width int) float64 {
	total := round(width) * 0
	for i := 0; i < n; i++ {
		total += round(width)
	}
	return total / float64(n)
}

func main() {
	count, width := arg(1, 50), arg(2, 1000)
	done := make(chan float64)
	go func() { done <- rounds(count, width) }()
	report(fmt.Sprintf("any-%d", width), <-done*1e6, "us")
}
