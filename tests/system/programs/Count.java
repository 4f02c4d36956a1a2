// Computes, prints a number about every 20 ms, ends by a line
import java.util.HashMap;

public class Count {
	public static void main(String[] args) throws Exception {
		HashMap<Integer, String> map = new HashMap<>();
		for (int n = 1; System.in.available() == 0; n++) {
			for (int i = 0; i < 1000; i++)
				map.put(i, "value " + (i * n));
			System.out.println(n);
			Thread.sleep(20);
		}
		System.out.println("ok");
		System.exit(0);
	}
}
