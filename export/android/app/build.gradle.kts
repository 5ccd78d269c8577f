plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "io.github.ssdkeras.detect"
    compileSdk = 35

    defaultConfig {
        applicationId = "io.github.ssdkeras.detect"
        minSdk = 28
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
    }

    // One library each: an app needs only one of them.
    flavorDimensions += "runtime"
    productFlavors {
        create("mediapipe") { dimension = "runtime" }
        create("litert") {
            dimension = "runtime"
            applicationIdSuffix = ".litert"
        }
    }

    // Both libraries map the file straight from the app package.
    androidResources { noCompress += "tflite" }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin { jvmToolchain(17) }

dependencies {
    implementation("androidx.activity:activity-ktx:1.10.1")
    implementation("androidx.camera:camera-camera2:1.4.2")
    implementation("androidx.camera:camera-lifecycle:1.4.2")
    "mediapipeImplementation"("com.google.mediapipe:tasks-vision:0.10.35")
    "litertImplementation"("com.google.ai.edge.litert:litert:2.1.6")
}

val model = layout.projectDirectory.file("src/main/assets/detector.tflite").asFile
tasks.named("preBuild") {
    doFirst {
        check(model.isFile) { "Put a file made by export.tflite at $model." }
    }
}
