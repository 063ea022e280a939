// Integers through four stages: a source, a map, a filter, and a fold at the end. By hand, with a
// goroutine for each stage and channels between them; the same with slices of 100.
package main

func source(n, step int, out chan<- []int) {
	for i := 1; i <= n; i += step {
		list := make([]int, 0, step)
		for k := i; k < i+step && k <= n; k++ {
			list = append(list, k)
		}
		out <- list
	}
	close(out)
}

func doubleAll(in <-chan []int, out chan<- []int) {
	for list := range in {
		for i := range list {
			list[i] *= 2
		}
		out <- list
	}
	close(out)
}

func keepDivisible(in <-chan []int, out chan<- []int) {
	for list := range in {
		kept := list[:0]
		for _, v := range list {
			if v%3 == 0 {
				kept = append(kept, v)
			}
		}
		out <- kept
	}
	close(out)
}

func batch(capacity int) func(int) {
	return func(n int) {
		lists, doubled, kept := make(chan []int, capacity), make(chan []int, capacity), make(chan []int, capacity)
		go source(n, 100, lists)
		go doubleAll(lists, doubled)
		go keepDivisible(doubled, kept)
		sum := 0
		for list := range kept {
			for _, v := range list {
				sum += v
			}
		}
	}
}

func hand(capacity int) func(int) {
	return func(n int) {
		numbers, doubled, kept := make(chan int, capacity), make(chan int, capacity), make(chan int, capacity)
		go func() {
			for i := 1; i <= n; i++ {
				numbers <- i
			}
			close(numbers)
		}()
		go func() {
			for v := range numbers {
				doubled <- 2 * v
			}
			close(doubled)
		}()
		go func() {
			for v := range doubled {
				if v%3 == 0 {
					kept <- v
				}
			}
			close(kept)
		}()
		sum := 0
		for v := range kept {
			sum += v
		}
	}
}

func main() {
	count, capacity := arg(1, 1000000), arg(2, 128)
	byHand := measure(count, hand(capacity)) * 1e9 // what stands beside both of Rille's
	report("stream/hand", byHand, "ns")
	report("stream", byHand, "ns")
	report("stream/batch", measure(count, batch(capacity))*1e9, "ns")
}
