// A select that receives from 2 or 16 channels, which one producer feeds in turn.
package main

import "fmt"

func produce(chans []chan int, n int) {
	for i := 0; i < n; i++ {
		chans[i%len(chans)] <- i
	}
}

func consume2(c []chan int, n int) {
	for i := 0; i < n; i++ {
		select {
		case <-c[0]:
		case <-c[1]:
		}
	}
}

func consume16(c []chan int, n int) {
	for i := 0; i < n; i++ {
		select {
		case <-c[0]:
		case <-c[1]:
		case <-c[2]:
		case <-c[3]:
		case <-c[4]:
		case <-c[5]:
		case <-c[6]:
		case <-c[7]:
		case <-c[8]:
		case <-c[9]:
		case <-c[10]:
		case <-c[11]:
		case <-c[12]:
		case <-c[13]:
		case <-c[14]:
		case <-c[15]:
		}
	}
}

func main() {
	count, width, capacity := arg(1, 500000), arg(2, 2), arg(3, 128)
	consume := map[int]func([]chan int, int){2: consume2, 16: consume16}[width]
	transfer := func(n int) {
		chans := make([]chan int, width)
		for i := range chans {
			chans[i] = make(chan int, capacity)
		}
		go produce(chans, n)
		consume(chans, n)
	}
	done := make(chan float64)
	go func() { done <- measure(count, transfer) }()
	report(fmt.Sprintf("select-%d/%d", width, capacity), <-done*1e9, "ns")
}
